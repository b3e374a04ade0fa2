"""The leakage check: what the student was asked is read, and built again without ground truth.

For a sample of sessions all requests to the student are searched for values that only the ground truth has,
and each has to be the one that the ledger has the hash of. Then the student is run again on the
configuration, the playbook that the ledger noted at the session's start, the users' texts and the calls'
outcomes in sessions.jsonl, and on nothing else: a request with the same hash was built from these alone.
Runs that recorded no requests have their hashes alone, and the texts that teacher and learner wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import orjson

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.playbook import render_playbook
from crm_assets.atlas.store import SessionContext
from crm_assets.atlas.student import Student, student_plan
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.atlas.tasks import read_tasks
from crm_assets.engine import ledger_key
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.harness import AgentSession, MadeCall, Outcome, ToolCall, take_turn
from crm_assets.llm import Answer, ChatRequest, RecordingModels, RetryPolicy, read_ledger
from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.ledger import Recording
from crm_assets.llm.recording import Attempts, Call
from crm_assets.llm.redaction import REDACTED
from crm_assets.llm.request_lines import DIGITS, RecordedRequest, in_common, read_requests
from crm_assets.records import LoopSession, SessionLog, TurnResult
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.jsonl import read_lines

__all__ = ["LeakageReport", "find_leaks"]

_NOTE = "start"
_QUOTED = 80  # characters of a difference
_BEFORE = 20  # of them before it
_SHORTEST = 8  # characters: shorter values turn up in texts by chance


class LeakageReport(NamedTuple):
    """The result of the leakage check."""

    sessions: int
    """Sessions in the sample."""
    derived: int
    """Requests of their students that could be derived again."""
    recorded: int
    """Requests that they made, those of attempts that the teacher sent back included."""
    read: int
    """Requests of these whose text was recorded, and was read."""
    problems: tuple[str, ...]
    """Requests that could not be derived or were changed, and values of the ground truth in them."""


class _Underivable(Exception):
    """The recorded run has no such request."""

    def __init__(self, derived: ChatRequest | None = None) -> None:
        super().__init__()
        self.derived = derived


@dataclass(frozen=True)
class _Session:
    """A session, and the parts of it that the student may know."""

    record: LoopSession

    @property
    def ledger_key(self) -> str:
        return ledger_key(self.record.conversation_id, self.record.epoch)

    @property
    def turns(self) -> tuple[TurnResult, ...]:
        return self.record.conversation_result.per_turn_results

    @property
    def guidance(self) -> str | None:
        """The teacher's last words to the student."""
        given = self.record.steps[0].guidance if self.record.steps else ()
        return given[-1] if given else None

    @property
    def said(self) -> str:
        """Everything that the student was shown and said itself, and that may be taught."""
        shown = [(turn.user_utterance, turn.made_calls, turn.agent_response_text) for turn in self.turns]
        return "\n".join(_texts(shown))

    @property
    def planned(self) -> bool:
        return self.record.atlas_metadata.execution_mode == "coach"


class _Witness(RecordingModels):
    """Answers from a ledger, and counts the requests that it holds."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(None, RetryPolicy())
        self._recording = recording
        self.derived = 0

    def noted(self, session: str, kind: str) -> dict[str, object] | None:
        return self._recording.noted(session, kind)

    async def aclose(self) -> None:
        """Do nothing: nothing was opened."""

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        entries = self._recording.attempts(call.caller.session, call.key)
        if not entries:
            raise _Underivable(call.request)
        self.derived += 1
        return entries

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        raise attempts.verdict() or _Underivable


@dataclass
class _LeakageCheck:
    paths: RunFiles
    config: LoadedConfig
    atlas: bool
    """The whole loop ran, and not the student alone."""
    witness: _Witness
    requests: Mapping[str, Sequence[RecordedRequest]]
    """Of each session: what its student was asked, where that was recorded."""
    problems: list[str] = field(default_factory=list)

    async def look_at(self, session: _Session, truth: frozenset[str]) -> None:
        pamphlet, requests = self._pamphlet(session), self.requests.get(session.ledger_key, ())
        self._read(session, requests)
        told, shown = _texts_of(requests)
        taught = " ".join(text for text in (pamphlet, session.guidance, *told) if text)
        known = "\n".join((session.said, *shown, _common(), system_prompt(self.config.config.agent)))
        if leaked := [value for value in sorted(truth) if value in taught and value not in known]:
            self.problems.append(
                f"{session.ledger_key}: what the student was told holds {leaked[0]!r}, which only the "
                "ground truth has"
            )
        if self.config.config.agent.type != "crm_harness":
            return  # what it asks of whom is not recorded
        try:
            await self._derive(session, pamphlet)
        except _Underivable as error:
            reason = _difference(error.derived, requests)
            self.problems.append(
                f"{session.ledger_key}: a request of the student cannot be derived again{reason}"
            )

    def _read(self, session: _Session, requests: Sequence[RecordedRequest]) -> None:
        """Note requests that are not those of which the ledger has the hash, but for redacted ones."""
        for request in requests:
            redacted = any(REDACTED in text for text in _texts(request.messages))
            if not request.is_unaltered and not redacted:
                self.problems.append(
                    f"{session.ledger_key}: request {request.request_sha256} is not what the ledger has "
                    "the hash of"
                )

    async def _derive(self, session: _Session, pamphlet: str | None) -> None:
        turns, plan, config = session.turns, None, self.config.config
        if session.planned:
            opening = turns[0].user_utterance
            plan = await student_plan(self.witness, session.ledger_key, config, opening, pamphlet)
        student = Student(
            self.witness,
            session.ledger_key,
            config,
            pamphlet=pamphlet,
            plan=plan,
            guidance=session.guidance,
        ).begin(session.record.conversation_id)
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


async def _take_turn(student: AgentSession, turn: TurnResult) -> None:
    recorded = iter(turn.made_calls)

    async def make(call: ToolCall) -> MadeCall:
        then = next(recorded, None)
        if then is None or call.name != then.tool_name:
            raise _Underivable
        return MadeCall(call, Outcome(called=True, result=then.result, error=then.error))

    await take_turn(student, turn.user_utterance, make)


def find_leaks(paths: RunFiles, config: LoadedConfig, *, atlas: bool, sample: int) -> LeakageReport:
    """Check `sample` sessions of a run of language models, evenly spread over it.

    Args:
        paths: of the run; its sessions, tasks and ledger are read.
        config: that it ran on.
        atlas: the whole loop ran, and not the student alone.
        sample: how many sessions, at most.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    said = (SessionLog(paths.sessions).header.agent or {}).get("tool_mode")
    if config.config.agent.tool_mode == "auto" and said in ("native", "text"):
        config = config.with_tool_mode(said)
    sessions = list(_sample(paths, sample))
    ledger_keys = {session.ledger_key for session in sessions}
    requests = _student_requests(paths, ledger_keys)
    check = _LeakageCheck(paths, config, atlas, _Witness(Recording.read(paths.ledger)), requests)
    truths = _truths(paths, {session.record.task_id for session in sessions})

    async def look() -> None:
        for session in sessions:
            try:
                await check.look_at(session, truths[session.record.task_id])
            except CrmAssetsError as error:
                check.problems.append(f"{session.ledger_key}: {error}")

    asyncio.run(look())
    recorded = {
        (entry.session, entry.request_sha256[:DIGITS], entry.ordinal)
        for entry in read_ledger(paths.ledger)
        if entry.role == "student" and entry.session in ledger_keys
    }
    read = {
        (each.session, each.request_sha256, each.ordinal) for asked in requests.values() for each in asked
    }
    return LeakageReport(
        sessions=len(sessions),
        derived=check.witness.derived,
        recorded=len(recorded),
        read=len(recorded & read),
        problems=tuple(check.problems),
    )


def _student_requests(paths: RunFiles, sessions: set[str]) -> dict[str, list[RecordedRequest]]:
    """Return what the students of sessions were asked; nothing for a run that did not record it."""
    found: dict[str, list[RecordedRequest]] = {}
    if paths.requests.is_file():
        for request in read_requests(paths.requests, sessions):
            if request.role == "student":
                found.setdefault(request.session, []).append(request)
    return found


def _texts_of(requests: Sequence[RecordedRequest]) -> tuple[list[str], list[str]]:
    """Return the texts that a student was told, and those that it was shown by tools or said itself."""
    messages = {orjson.dumps(each): each for request in requests for each in request.messages}
    told: list[str] = []
    shown: list[str] = []
    for message in messages.values():
        (told if message["role"] in ("system", "user") else shown).extend(_texts(message))
    return told, shown


def _difference(derived: ChatRequest | None, requests: Sequence[RecordedRequest]) -> str:
    """Say where a derived request parts from the one that was recorded in its place."""
    if derived is None or not requests:
        return ""
    mine = tuple(message.document() for message in derived.messages)
    in_place = [each.messages for each in requests if len(each.messages) == len(mine)]
    if not in_place:
        return f": no request of {len(mine)} messages was recorded"
    recorded = max(in_place, key=lambda messages: in_common(mine, messages))
    alike = in_common(mine, recorded)
    if alike == len(mine):
        return ": model, tools or parameters differ"
    was, built = (str(each[alike]["content"] or "a call") for each in (recorded, mine))
    place = next((n for n, pair in enumerate(zip(was, built, strict=False)) if pair[0] != pair[1]), 0)
    place = max(0, place - _BEFORE)
    return (
        f": its message {alike + 1} was {was[place : place + _QUOTED]!r}, and comes to "
        f"{built[place : place + _QUOTED]!r}"
    )


def _sample(paths: RunFiles, sample: int) -> Iterator[_Session]:
    """Pick sessions that ran to their end, evenly spread."""
    offsets = [line.offset for line in read_lines(paths.sessions)]
    log = SessionLog(paths.sessions)
    for offset in offsets[:: max(1, -(-len(offsets) // sample))]:
        record = log.record(offset)
        if record.ran is not None:
            yield _Session(record)


def _truths(paths: RunFiles, wanted: set[str]) -> dict[str, frozenset[str]]:
    """Return the values that tasks' ground truths hold: expected arguments and replies."""
    found = {}
    for task in read_tasks(paths.tasks):
        if task.task_id in wanted:
            expected = [
                (turn.expected_args, turn.expected_response and turn.expected_response.model_dump())
                for turn in task.conversation.turns
            ]
            values = (text for text in _texts(expected) if len(text) >= _SHORTEST)
            found[task.task_id] = frozenset(values)
    return found


@cache
def _common() -> str:
    """Return what every student is shown of the CRM: its values are no secrets."""
    return "\n".join(_texts([tool.document for tool in function_tools()]))


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
