"""A leak canary: what the student was asked is derived again from what it may know, and compared.

Ledgers hold no requests, but their hashes. For a sample of sessions the student is run again: on the
configuration, the playbook that the ledger noted at the session's start, the users' texts and the calls'
outcomes in sessions.jsonl, and on nothing else. Where each of its requests has the hash of a recorded
one, the recorded request was built from these alone, and no ground truth was in it. The texts that a
teacher or learner wrote are inputs of that, so they are searched for values that only the ground truth has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import orjson

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.playbook import render_playbook
from crm_assets.atlas.store import SessionContext
from crm_assets.atlas.student import Student, student_plan
from crm_assets.atlas.student_prompt import function_tools
from crm_assets.engine import ledger_key
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.harness import AgentSession, Outcome
from crm_assets.llm import Answer, RecordingModels, RetryPolicy, read_ledger
from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.ledger import Recording
from crm_assets.llm.recording import Attempts, Call
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.jsonl import read_lines, read_lines_at

__all__ = ["CanaryReport", "find_leaks"]

_NOTE = "start"
_SHORTEST = 8  # characters: shorter values turn up in texts by chance


class CanaryReport(NamedTuple):
    """What the canary saw."""

    sessions: int
    """Sessions that were looked at."""
    derived: int
    """Requests of their students that could be derived again."""
    recorded: int
    """Requests that they made, those of attempts that the teacher sent back included."""
    problems: tuple[str, ...]
    """Requests that could not be derived, and values of the ground truth in what was taught."""


class _Underivable(Exception):
    """The recorded run has no such request."""


@dataclass
class _Session:
    """A line of sessions.jsonl, and what may be told of it."""

    line: dict[str, Any]

    @property
    def ledger_key(self) -> str:
        return ledger_key(self.line["conversation_id"], self.line["epoch"])

    @property
    def turns(self) -> list[dict[str, Any]]:
        return list(self.line["conversation_result"]["per_turn_results"])

    @property
    def guidance(self) -> str | None:
        """The teacher's last words to the student."""
        steps = self.line.get("steps") or [{}]
        given = steps[0].get("guidance") or []
        return given[-1] if given else None

    @property
    def said(self) -> str:
        """Everything that the student was told and said itself: what may well be taught."""
        names = ("user_utterance", "result", "error", "arguments", "agent_response_text")
        return "\n".join(_texts([[turn[name] for name in names] for turn in self.turns]))

    @property
    def planned(self) -> bool:
        mode = self.line["atlas_metadata"].get("execution_mode")
        return bool(mode == "coach")


class _Witness(RecordingModels):
    """Answers from a ledger, and notes which requests it holds."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(None, RetryPolicy())
        self._recording = recording
        self.derived = 0

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        return self._recording.noted(session, kind)

    async def aclose(self) -> None:
        """Nothing was opened."""

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        entries = self._recording.attempts(call.caller.session, call.key)
        if not entries:
            raise _Underivable
        self.derived += 1
        return entries

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        raise attempts.verdict() or _Underivable


@dataclass
class _Canary:
    paths: BaselinePaths
    config: LoadedConfig
    atlas: bool
    """Whether it was the whole loop, and not the student alone."""
    witness: _Witness
    problems: list[str] = field(default_factory=list)

    async def look_at(self, session: _Session, truth: frozenset[str]) -> None:
        pamphlet = self._pamphlet(session)
        taught = " ".join(text for text in (pamphlet, session.guidance) if text)
        secret = sorted(value for value in truth if value in taught)
        if leaked := [value for value in secret if value not in session.said and value not in _common()]:
            self.problems.append(
                f"{session.ledger_key}: what the student was taught holds {leaked[0]!r}, which only the "
                "ground truth has"
            )
        try:
            await self._derive(session, pamphlet)
        except _Underivable:
            self.problems.append(f"{session.ledger_key}: a request of the student cannot be derived again")

    async def _derive(self, session: _Session, pamphlet: str | None) -> None:
        turns, plan, config = session.turns, None, self.config.config
        if session.planned:
            opening = turns[0]["user_utterance"]
            plan = await student_plan(self.witness, session.ledger_key, config, opening, pamphlet)
        student = Student(
            self.witness,
            session.ledger_key,
            config,
            pamphlet=pamphlet,
            plan=plan,
            guidance=session.guidance,
        ).begin(session.line["conversation_id"])
        for turn in turns:
            await _take_turn(student, turn)

    def _pamphlet(self, session: _Session) -> str | None:
        if not self.atlas or not self.config.config.learning.apply_to_prompts:
            return None
        if self.config.learning_mode == "off":
            return None
        note = self.witness.noted(session.ledger_key, _NOTE)
        if note is None:
            raise InputError(f"The ledger does not say what session {session.ledger_key} started from.")
        return render_playbook(SessionContext.model_validate(note).learning, "student")


async def _take_turn(student: AgentSession, turn: Mapping[str, Any]) -> None:
    call = await student.act(turn["user_utterance"])
    if call is not None and call.name != turn["tool_name"]:
        raise _Underivable
    await student.reply(Outcome(call is not None, turn["result"], turn["error"]))


def find_leaks(paths: BaselinePaths, config: LoadedConfig, *, atlas: bool, sample: int) -> CanaryReport:
    """Look at `sample` sessions of a run of language models, evenly spread over it.

    Args:
        paths: of the baseline; its sessions, tasks and ledger are read.
        config: that it ran on.
        atlas: whether the whole loop ran, and not the student alone.
        sample: how many sessions, at most.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    sessions = list(_sample(paths, sample))
    canary = _Canary(paths, config, atlas, _Witness(Recording.read(paths.ledger)))
    truths = _truths(paths, {session.line["task_id"] for session in sessions})

    async def look() -> None:
        for session in sessions:
            try:
                await canary.look_at(session, truths[session.line["task_id"]])
            except CrmAssetsError as error:
                canary.problems.append(f"{session.ledger_key}: {error}")

    asyncio.run(look())
    ledger_keys = {session.ledger_key for session in sessions}
    recorded = {
        (entry.session, entry.request_sha256, entry.ordinal)
        for entry in read_ledger(paths.ledger)
        if entry.role == "student" and entry.session in ledger_keys
    }
    return CanaryReport(len(sessions), canary.witness.derived, len(recorded), tuple(canary.problems))


def _sample(paths: BaselinePaths, sample: int) -> Iterator[_Session]:
    """Sessions that ran to their end, evenly spread."""
    offsets = [line.offset for line in read_lines(paths.sessions)]
    step = max(1, -(-len(offsets) // sample))
    try:
        for line in read_lines_at(paths.sessions, offsets[::step]):
            session = orjson.loads(line)
            if session["status"] == "succeeded":
                yield _Session(session)
    except (ValueError, KeyError) as error:
        raise InputError(f"Cannot read the sessions {paths.sessions}: {error}.") from error


def _truths(paths: BaselinePaths, wanted: set[str]) -> dict[str, frozenset[str]]:
    """The values that tasks' ground truths hold: expected arguments and replies."""
    found = {}
    with paths.tasks.open("rb") as handle:
        for line in handle:
            task = orjson.loads(line)
            if task["task_id"] in wanted:
                expected = [
                    (turn.get("expected_args"), turn.get("expected_response"))
                    for turn in task["conversation"]["turns"]
                ]
                values = (text for text in _texts(expected) if len(text) >= _SHORTEST)
                found[task["task_id"]] = frozenset(values)
    return found


@cache
def _common() -> str:
    """What every student is told of the CRM: its values are no secrets."""
    return "\n".join(_texts([tool.document for tool in function_tools()]))


def _texts(value: Any) -> Iterator[str]:
    """The strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
