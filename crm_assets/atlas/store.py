"""Where a session gets what it starts from, and leaves what came of it.

A live run has the telemetry database; a replay has what the recorded run noted in its ledger and leaves
nothing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry import Merge, SessionEnd, SessionStart, TelemetryStore
from crm_assets.errors import InputError

__all__ = [
    "LiveStore",
    "Merge",
    "NoteBook",
    "OpenSession",
    "RecordedStore",
    "SessionContext",
    "SessionStore",
    "recorded_start",
    "session_start_time",
]

_NOTE = "start"


class NoteBook(Protocol):
    """What a ledger keeps beside calls."""

    def note(self, session: str, kind: str, document: dict[str, object]) -> None:
        """Keep `document`; the latest of a session and kind counts."""

    def noted(self, session: str, kind: str) -> dict[str, object] | None:
        """What was kept."""


class SessionContext(BaseModel):
    """What a session starts from: all that its prompts hold besides task and configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    started_at: AwareDatetime
    """What the CRM's clock stands at: models are shown the stamps of new rows."""
    learning: LearningState = LearningState()
    """What its key has learnt."""
    history: tuple[PastSession, ...] = ()
    """Earlier sessions of the key, latest first."""
    window: tuple[tuple[float, float], ...] = ()
    """Score and uncertainty of earlier rewards of the key, latest first."""


@dataclass(frozen=True)
class OpenSession:
    """A session under way."""

    start: SessionStart
    context: SessionContext
    account: str
    """On which its calls stand in the ledger."""
    id: int | None
    """Its row in the telemetry database."""
    stored: bool = False
    """Whether an earlier start of the run had stored it before it was stopped."""


class SessionStore(ABC):
    """Sessions' beginnings and ends."""

    @abstractmethod
    async def begin(self, start: SessionStart, account: str) -> OpenSession:
        """Enter a session, whose calls stand on `account` in the ledger."""

    @abstractmethod
    async def finish(self, session: OpenSession, end: SessionEnd, merge: Merge | None) -> None:
        """Leave it, and merge what was learnt into whatever its key knows by then."""

    @abstractmethod
    async def fail(self, session: OpenSession, reason: str) -> None:
        """Leave it before its end."""


class LiveStore(SessionStore):
    """The telemetry database; what a session starts from is noted, too, for resuming and replaying."""

    def __init__(self, telemetry: TelemetryStore, notes: NoteBook, *, history: int, window: int) -> None:
        self._telemetry = telemetry
        self._notes = notes
        self._history = history
        self._window = window

    async def begin(self, start: SessionStart, account: str) -> OpenSession:
        """Insert the session, and read what its key has learnt.

        One that was interrupted starts from what it started from then: its calls are the same, and those
        that were paid for are not paid for again.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        return await asyncio.to_thread(self._begin, start, account)

    def _begin(self, start: SessionStart, account: str) -> OpenSession:
        context = _noted(self._notes, account)
        if context is not None:
            stored = self._telemetry.stored_session(start.run_id, start.session_key)
            if stored is not None:
                return OpenSession(start, context, account, stored, stored=True)
        else:
            key = start.learning_key
            context = SessionContext(
                started_at=_now(),
                learning=self._telemetry.learning_state(key),
                history=tuple(self._telemetry.past_sessions(key, self._history)),
                window=tuple(self._telemetry.reward_window(key, self._window)),
            )
            self._notes.note(account, _NOTE, context.model_dump(mode="json"))
        return OpenSession(start, context, account, self._telemetry.begin(start))

    async def finish(self, session: OpenSession, end: SessionEnd, merge: Merge | None) -> None:
        """Write all of it in one transaction, unless an earlier start of the run had done so.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        if session.stored:
            return
        assert session.id is not None
        await asyncio.to_thread(self._telemetry.persist, session.id, end, merge)

    async def fail(self, session: OpenSession, reason: str) -> None:
        """Close it as failed.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        if session.stored:
            return
        assert session.id is not None
        await asyncio.to_thread(self._telemetry.fail, session.id, reason)


class RecordedStore(SessionStore):
    """What a recorded run started its sessions from; nothing is written anywhere."""

    def __init__(self, notes: NoteBook) -> None:
        self._notes = notes

    async def begin(self, start: SessionStart, account: str) -> OpenSession:
        """Enter a session as the recorded run did.

        Raises:
            InputError: that run did not.
        """
        context = _recorded(self._notes, account)
        return OpenSession(start, context, account, None)

    async def finish(self, session: OpenSession, end: SessionEnd, merge: Merge | None) -> None:
        """Nothing is left to do."""

    async def fail(self, session: OpenSession, reason: str) -> None:
        """Nothing is left to do."""


def session_start_time(notes: NoteBook, account: str) -> datetime:
    """When a session without a store began: now, unless an earlier start of the run had begun it."""
    context = _noted(notes, account)
    if context is None:
        context = SessionContext(started_at=_now())
        notes.note(account, _NOTE, context.model_dump(mode="json"))
    return context.started_at


def recorded_start(notes: NoteBook, account: str) -> datetime:
    """When a session began in the recorded run.

    Raises:
        InputError: that run did not begin it.
    """
    return _recorded(notes, account).started_at


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _recorded(notes: NoteBook, account: str) -> SessionContext:
    """What a session started from in the recorded run; noted again, since a replay can be replayed, too."""
    context = _noted(notes, account)
    if context is None:
        raise InputError(
            f"The recorded run never began session {account}: if its budget ran out, let it finish first; "
            "else replay it on its own tasks."
        )
    notes.note(account, _NOTE, context.model_dump(mode="json"))
    return context


def _noted(notes: NoteBook, session: str) -> SessionContext | None:
    document = notes.noted(session, _NOTE)
    if document is None:
        return None
    try:
        return SessionContext.model_validate(document)
    except ValidationError as error:
        raise InputError(
            f"The ledger's note on session {session} is of another version; run it anew (--overwrite)."
        ) from error
