"""Finds sessions in a sessions.jsonl of any size, a line at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from crm_assets.errors import InputError
from crm_assets.reporting.lines import read_lines
from crm_assets.reporting.sessions_view.records import ShownSession
from crm_assets.workspace.jsonl import read_line_at
from crm_assets.workspace.jsonl import read_lines as read_jsonl

__all__ = ["Found", "SessionSummary", "find_session", "read_summaries"]

_MOST_NAMED = 5


class SessionSummary(NamedTuple):
    """A session in a row of a table; those that went worst are the smallest."""

    rank: int
    """0: failed, 1: without a verdict, 2: right in every turn."""
    reward: float
    """For the order: a session without one comes after those with."""
    line: int
    conversation_id: str
    epoch: int
    workflow: str
    status: str
    strict: bool | None
    state: bool | None
    score: float | None
    cost_usd: float | None
    attempts: int | None


def read_summaries(sessions: Path) -> Iterator[SessionSummary]:
    """Every session in short, in the file's order.

    Raises:
        InputError: the file cannot be read, or a line of it is no session; names file and line.
    """
    for number, session in read_lines(sessions):
        meta = session.atlas_metadata
        ran = session.conversation_result if session.status == "succeeded" else None
        strict = ran.overall_success if ran else None
        score = meta.session_reward.score if meta.session_reward else None
        yield SessionSummary(
            rank={False: 0, None: 1, True: 2}[strict],
            reward=math.inf if score is None else score,
            line=number,
            conversation_id=session.conversation_id,
            epoch=session.epoch,
            workflow=meta.workflow_category or "",
            status=session.status,
            strict=strict,
            state=ran.state_match if ran else None,
            score=score,
            cost_usd=math.fsum(meta.cost_usd.values()) if meta.cost_usd else None,
            attempts=meta.attempts,
        )


@dataclass(frozen=True)
class Found:
    """A session that was looked for."""

    session: ShownSession
    epochs: tuple[int, ...]
    """In which its conversation was run."""


def find_session(sessions: Path, wanted: str, epoch: int | None = None) -> Found:
    """The session of the conversation whose ID is `wanted`, or is the only one that begins so.

    Args:
        sessions: the file.
        wanted: an ID or the beginning of one.
        epoch: which time it was run; the first where None.

    Raises:
        InputError: there is none, or there are several; or the line cannot be read.
    """
    places: dict[str, dict[int, tuple[int, int]]] = {}
    for number, offset, session in _candidates(sessions, wanted):
        identifier, found_epoch = session.get("conversation_id"), session.get("epoch", 1)
        if isinstance(identifier, str) and identifier.startswith(wanted):
            places.setdefault(identifier, {})[found_epoch] = (number, offset)
    identifier = _choose(places, wanted, sessions)
    epochs = places[identifier]
    chosen = min(epochs) if epoch is None else epoch
    if chosen not in epochs:
        known = ", ".join(map(str, sorted(epochs)))
        raise InputError(
            f"Conversation {identifier!r} was not run in epoch {chosen}; choose --epoch of {known}."
        )
    number, offset = epochs[chosen]
    return Found(_read(sessions, number, offset), tuple(sorted(epochs)))


def _candidates(sessions: Path, wanted: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The lines that may be of the conversation: most need not be parsed."""
    text = orjson.dumps(wanted)[1:-1]
    for number, offset, line in read_jsonl(sessions):
        if text in line:
            yield number, offset, _parse(sessions, number, line)


def _parse(sessions: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{sessions}, line {number} is not JSON: {error}.") from error
    return document if isinstance(document, dict) else {}


def _choose(places: dict[str, Any], wanted: str, sessions: Path) -> str:
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


def _read(sessions: Path, number: int, offset: int) -> ShownSession:
    line = read_line_at(sessions, offset)
    try:
        return ShownSession.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{sessions}, line {number} is no session that can be shown ({field}: {first['msg']}); make it "
            "again by materializing atlas_sessions."
        ) from None
