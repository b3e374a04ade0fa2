"""The beginnings and ends of sessions: what they start from, and where their outcome is stored.

A live run uses the telemetry database; a replay uses the checkpoints in the recorded run's ledger and
stores nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import count
from typing import Protocol, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.playbook import LearningState, Lesson
from crm_assets.atlas.telemetry import SessionEnd, SessionStart, TelemetryStore
from crm_assets.concurrency import in_thread
from crm_assets.database import through_outage
from crm_assets.errors import InputError

__all__ = [
    "LiveStore",
    "OpenSession",
    "RecordedStore",
    "SessionCheckpoints",
    "SessionContext",
    "SessionStore",
    "recorded_start",
    "session_start_time",
]

_NOTE = "start"

_Result = TypeVar("_Result")


class SessionCheckpoints(Protocol):
    """Keeps checkpoints of sessions beside the calls of a ledger."""

    def note(self, session: str, kind: str, document: dict[str, object]) -> None:
        """Save `document`; the latest of a session and kind counts."""

    def noted(self, session: str, kind: str) -> dict[str, object] | None:
        """Return what was saved; None for nothing."""


class SessionContext(BaseModel):
    """The start of a session: all that its prompts hold besides task and configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: AwareDatetime
    """The time of the CRM's clock: models are shown the time stamps of new rows."""
    learning: LearningState = LearningState()
    """The playbook of its learning key."""
    history: tuple[PastSession, ...] = ()
    """Earlier sessions of the key, latest first."""
    window: tuple[tuple[float, float], ...] = ()
    """Score and uncertainty of earlier rewards of the key, latest first."""


@dataclass(frozen=True)
class OpenSession:
    """A session under way."""

    start: SessionStart
    context: SessionContext
    ledger_key: str
    """Under which its calls are recorded in the ledger."""
    id: int | None
    """Its row in the telemetry database."""
    stored: bool = False
    """An earlier start of the run had stored it before it was stopped."""


class SessionStore(ABC):
    """Sessions' beginnings and ends."""

    @abstractmethod
    async def begin(self, start: SessionStart, ledger_key: str) -> OpenSession:
        """Enter a session, whose calls are recorded under `ledger_key`."""

    @abstractmethod
    async def finish(self, session: OpenSession, end: SessionEnd, lesson: Lesson | None) -> None:
        """Store its end, and merge its lesson into its key's state as it is by then."""

    @abstractmethod
    async def fail(self, session: OpenSession, reason: str) -> None:
        """Store that it failed."""


class LiveStore(SessionStore):
    """Stores sessions in the telemetry database; their starts are saved in the ledger, too."""

    def __init__(
        self,
        telemetry: TelemetryStore,
        checkpoints: SessionCheckpoints,
        *,
        history: int,
        window: int,
        outage_seconds: float = 0.0,
    ) -> None:
        """Prepare for sessions.

        Args:
            telemetry: the database.
            checkpoints: of the run's sessions.
            history: number of earlier sessions that one is shown.
            window: number of earlier rewards that one is compared with.
            outage_seconds: time to wait for a database that went away.
        """
        self._outage_seconds = outage_seconds
        self._telemetry = telemetry
        self._checkpoints = checkpoints
        self._history = history
        self._window = window

    async def begin(self, start: SessionStart, ledger_key: str) -> OpenSession:
        """Insert the session, and read its key's playbook.

        One that was interrupted starts from the same again: its calls are the same, and none is paid for
        twice.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        tries = count()
        return await self._patiently(lambda: self._begin(start, ledger_key, again=next(tries) > 0))

    async def _patiently(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` in a thread, and again while the database is away."""
        return await through_outage(lambda: in_thread(work), self._outage_seconds)

    def _begin(self, start: SessionStart, ledger_key: str, *, again: bool) -> OpenSession:
        if again:  # the connection may have broken after the session was entered
            self._telemetry.fail_earlier(start.run_id, start.session_key)
        context = _saved(self._checkpoints, ledger_key)
        if context is not None:
            stored = self._telemetry.stored_session(start.run_id, start.session_key)
            if stored is not None:
                return OpenSession(start, context, ledger_key, stored, stored=True)
        else:
            key = start.learning_key
            context = SessionContext(
                started_at=_now(),
                learning=self._telemetry.learning_state(key),
                history=tuple(self._telemetry.past_sessions(key, self._history)),
                window=tuple(self._telemetry.reward_window(key, self._window)),
            )
            self._checkpoints.note(ledger_key, _NOTE, context.model_dump(mode="json"))
        return OpenSession(start, context, ledger_key, self._telemetry.begin(start))

    async def finish(self, session: OpenSession, end: SessionEnd, lesson: Lesson | None) -> None:
        """Write all of it in one transaction, unless an earlier start of the run had done so.

        The lesson of a session that is not approved is kept with it, and reaches no playbook yet.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        if session.stored:
            return
        assert session.id is not None
        merge = None
        if lesson is not None and end.review.status == "approved":
            merge = lesson.merged_into
        elif lesson is not None:
            end = replace(end, metadata={**end.metadata, "lesson": lesson.model_dump(mode="json")})
        number, tries = session.id, count()
        await self._patiently(lambda: self._telemetry.persist(number, end, merge, again=next(tries) > 0))

    async def fail(self, session: OpenSession, reason: str) -> None:
        """Close it as failed.

        Raises:
            InfrastructureError: the telemetry database failed.
        """
        if session.stored:
            return
        assert session.id is not None
        await self._patiently(partial(self._telemetry.fail, session.id, reason))


class RecordedStore(SessionStore):
    """Starts sessions as a recorded run did; nothing is stored."""

    def __init__(self, checkpoints: SessionCheckpoints) -> None:
        self._checkpoints = checkpoints

    async def begin(self, start: SessionStart, ledger_key: str) -> OpenSession:
        """Enter a session as the recorded run did.

        Raises:
            InputError: that run did not.
        """
        context = _recorded(self._checkpoints, ledger_key)
        return OpenSession(start, context, ledger_key, None)

    async def finish(self, session: OpenSession, end: SessionEnd, lesson: Lesson | None) -> None:
        """Do nothing."""

    async def fail(self, session: OpenSession, reason: str) -> None:
        """Do nothing."""


def session_start_time(checkpoints: SessionCheckpoints, ledger_key: str) -> datetime:
    """Return when a session without a store began: now, unless an earlier start of the run had begun it."""
    context = _saved(checkpoints, ledger_key)
    if context is None:
        context = SessionContext(started_at=_now())
        checkpoints.note(ledger_key, _NOTE, context.model_dump(mode="json"))
    return context.started_at


def recorded_start(checkpoints: SessionCheckpoints, ledger_key: str) -> datetime:
    """Return when a session began in the recorded run.

    Raises:
        InputError: that run did not begin it.
    """
    return _recorded(checkpoints, ledger_key).started_at


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _recorded(checkpoints: SessionCheckpoints, ledger_key: str) -> SessionContext:
    """Return a session's start in the recorded run; saved again, since a replay can be replayed, too."""
    context = _saved(checkpoints, ledger_key)
    if context is None:
        raise InputError(
            f"The recorded run never began session {ledger_key}: if its budget ran out, let it finish "
            "first; else replay it on its own tasks."
        )
    checkpoints.note(ledger_key, _NOTE, context.model_dump(mode="json"))
    return context


def _saved(checkpoints: SessionCheckpoints, ledger_key: str) -> SessionContext | None:
    document = checkpoints.noted(ledger_key, _NOTE)
    if document is None:
        return None
    try:
        return SessionContext.model_validate(document)
    except ValidationError as error:
        raise InputError(
            f"The ledger's checkpoint of session {ledger_key} is of another version; start over "
            "(--overwrite)."
        ) from error
