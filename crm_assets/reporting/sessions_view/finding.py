"""Finds sessions in a session log of any size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crm_assets.errors import InputError
from crm_assets.records import LoopSession, RunHeader, SessionLog

__all__ = ["Found", "SessionRow", "find_session", "read_rows"]

_MOST_NAMED = 5
_FOR_ORDER = frozenset({"rank", "reward", "line", "content"})


class SessionRow(NamedTuple):
    """A session as a row of a table; those that went worst are the smallest."""

    rank: int
    """0: no strict success, 1: without a verdict, 2: strict success."""
    reward: float
    """For the order: a session without one comes after those with."""
    line: int
    conversation_id: str
    epoch: int
    workflow: str
    status: str
    strict: bool | None
    turns: bool | None
    """Every turn correct."""
    state: bool | None
    score: float | None
    cost_usd: float | None
    attempts: int | None
    content: str
    """The same for all sessions of one content."""
    noop: bool | None
    """An agent that calls nothing leaves the expected end state; None where that is not known."""

    def facts(self) -> dict[str, object]:
        """Return the row without what only orders it."""
        return {name: value for name, value in self._asdict().items() if name not in _FOR_ORDER}


def read_rows(sessions: Path) -> Iterator[SessionRow]:
    """Read every session in short, in the file's order.

    Raises:
        InputError: the file cannot be read, or a line of it is no session; names file and line.
    """
    for line, _, session in SessionLog(sessions).summaries():
        meta, strict, score = session.atlas_metadata, session.strict_success, session.reward
        yield SessionRow(
            rank={False: 0, None: 1, True: 2}[strict],
            reward=math.inf if score is None else score,
            line=line,
            conversation_id=session.conversation_id,
            epoch=session.epoch,
            workflow=meta.workflow_category or "",
            status=session.status,
            strict=strict,
            turns=session.turns_right,
            state=session.state_match,
            score=score,
            cost_usd=session.cost_usd,
            attempts=meta.attempts,
            content=session.content,
            noop=session.ran.noop_state_match if session.ran else None,
        )


@dataclass(frozen=True)
class Found:
    """The session that was asked for."""

    session: LoopSession
    run: RunHeader
    epochs: tuple[int, ...]
    """The epochs in which its conversation was run."""


def find_session(sessions: Path, wanted: str, epoch: int | None = None) -> Found:
    """Find the session of the conversation whose ID is `wanted`, or is the only one that begins so.

    Args:
        sessions: the file.
        wanted: an ID or the beginning of one.
        epoch: which time it was run; the first where None.

    Raises:
        InputError: there is none, or there are several; or the line cannot be read.
    """
    log = SessionLog(sessions)
    places: dict[str, dict[int, int]] = {}
    for _, offset, session in log.search(wanted):
        if session.conversation_id.startswith(wanted):
            places.setdefault(session.conversation_id, {})[session.epoch] = offset
    identifier = _choose(places, wanted, sessions)
    epochs = places[identifier]
    chosen = min(epochs) if epoch is None else epoch
    if chosen not in epochs:
        known = ", ".join(map(str, sorted(epochs)))
        raise InputError(
            f"Conversation {identifier!r} was not run in epoch {chosen}; choose --epoch of {known}."
        )
    return Found(log.record(epochs[chosen]), log.header, tuple(sorted(epochs)))


def _choose(places: Collection[str], wanted: str, sessions: Path) -> str:
    if wanted in places:
        return wanted
    if not places:
        raise InputError(
            f"No conversation in {sessions} has an ID that begins with {wanted!r}; leave it out to list "
            "them."
        )
    if len(places) > 1:
        named = ", ".join(sorted(places)[:_MOST_NAMED])
        more = f" and {len(places) - _MOST_NAMED:,} more" if len(places) > _MOST_NAMED else ""
        raise InputError(
            f"{len(places):,} conversations begin with {wanted!r}: {named}{more}; give more of it."
        )
    return next(iter(places))
