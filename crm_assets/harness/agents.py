"""The agents without a model: the ground truth's calls, none at all, or those of a past run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crm_assets.conversations import Conversation, JsonObject, Turn, resolve, turn_output
from crm_assets.conversations.patterns import UUID
from crm_assets.errors import InputError
from crm_assets.harness.alignment import NotRecorded, turns_to_score
from crm_assets.harness.protocol import (
    Action,
    Agent,
    AgentSession,
    Facts,
    NotRecordedError,
    Outcome,
    ScriptedAgent,
    ToolCall,
    TurnEnd,
)
from crm_assets.harness.state import created_rows
from crm_assets.records.past import PastResults, PastTurn
from crm_assets.records.past_result import PastCall
from crm_assets.records.results import TokenUsage
from crm_assets.workspace.files import sha256_of_file

__all__ = ["AgentName", "AgentSpec", "make_agent"]

AgentName = Literal["replay", "noop", "recorded"]


class _NoopSession(AgentSession):
    async def act(self, utterance: str) -> Action:
        return Action(reply="")

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        raise AssertionError("It makes no call.")


class NoopAgent(Agent):
    """Does nothing and says nothing; must score nothing."""

    def begin(self, conversation_id: str) -> AgentSession:
        """Return a session that does nothing."""
        return _NoopSession()

    def describe(self) -> Facts:
        """Return its name."""
        return {"name": "noop"}


class _ReplaySession(AgentSession):
    """Makes the expected calls, with references filled from its own results."""

    def __init__(self, conversation: Conversation) -> None:
        self._turns = iter(conversation.turns)
        self._turn: Turn | None = None
        self._outputs: dict[int, JsonObject] = {}

    async def act(self, utterance: str) -> Action:
        self._turn = turn = next(self._turns)
        arguments = resolve(turn.expected_args, self._outputs, strict=False)
        return Action((ToolCall(turn.expected_tool, arguments),))

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        turn = self._turn
        assert turn is not None  # act() comes first
        if outcomes[0].error is None:
            self._outputs[turn.turn_id] = turn_output(outcomes[0].result)
        return Action(reply=turn.expected_response.text if turn.expected_response else "")


class ReplayAgent(ScriptedAgent):
    """The ground truth: shows that dataset, sandbox and verification agree."""

    def script(self, conversation: Conversation) -> AgentSession:
        """Follow the expected calls."""
        return _ReplaySession(conversation)

    def describe(self) -> Facts:
        """Return its name."""
        return {"name": "replay"}


class _RecordedSession(AgentSession):
    """Makes the calls that a past run made, and asks for those that it did not make then.

    Where that run created a row, later calls name the ID it got then; they are made with the ID that
    the row has here.
    """

    def __init__(self, turns: Mapping[int, PastTurn]) -> None:
        self._turns = turns
        self._number = 0
        self._turn = PastTurn()
        self._left: deque[PastCall] = deque()
        """The turn's calls that are still to be made; the first of them is under way."""
        self._ids: dict[str, str] = {}

    async def act(self, utterance: str) -> Action:
        self._number += 1
        self._turn = self._turns.get(self._number) or PastTurn()
        self._left = deque(self._turn.made_calls)
        return self._next()

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        made = self._left.popleft()
        then = created_rows([(made.tool_name, made.result)])
        here = created_rows([(made.tool_name, outcomes[0].result)])
        self._ids.update(zip(then, here, strict=False))  # one each, or none where the call failed
        return self._next()

    def _next(self) -> Action:
        """Return the next call by itself, as it may name a row that the one before creates."""
        if self._left:
            return Action((self._call(self._left[0]),))
        dropped = tuple(map(self._call, self._turn.dropped_calls))
        return Action(dropped, self._turn.agent_response_text)

    def _call(self, past: PastCall) -> ToolCall:
        return ToolCall(past.tool_name, _translated(past.arguments, self._ids))

    @property
    def most_calls(self) -> int:
        return len(self._turn.made_calls)

    def usage(self) -> Mapping[str, TokenUsage]:
        return self._turn.usage

    def ended_by(self) -> TurnEnd | None:
        return self._turn.ended_by


def _translated(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return UUID.sub(lambda match: ids.get(match.group().lower(), match.group()), value)
    if isinstance(value, list):
        return [_translated(entry, ids) for entry in value]
    if isinstance(value, Mapping):
        return {name: _translated(entry, ids) for name, entry in value.items()}
    return value


class RecordedAgent(ScriptedAgent):
    """A past run, scored again without paying for it again."""

    def __init__(self, path: Path) -> None:
        self._results = PastResults(path)
        self._description = {
            "name": "recorded",
            "recorded": path.name,
            "recorded_sha256": sha256_of_file(path),
            **asdict(self._results.origin),
        }

    def script(self, conversation: Conversation) -> AgentSession:
        """Follow the recorded calls."""
        turns = turns_to_score(conversation, self._results.read(conversation.conversation_id))
        if isinstance(turns, NotRecorded):
            raise NotRecordedError(turns)
        return _RecordedSession(turns)

    def describe(self) -> Facts:
        """Return its name, the file with its hash, and the model that was recorded."""
        return self._description


@dataclass(frozen=True)
class AgentSpec:
    """An agent as a command line or a Dagster config names it."""

    name: AgentName = "replay"
    recorded: Path | None = field(default=None)
    """The past results file, for `recorded`."""

    def __post_init__(self) -> None:
        if self.name == "recorded" and self.recorded is None:
            raise InputError("Agent 'recorded' needs the results file of a past run (--recorded FILE).")
        if self.name != "recorded" and self.recorded is not None:
            raise InputError(f"Only the agent 'recorded' takes a results file, not {self.name!r}.")


def make_agent(spec: AgentSpec) -> Agent:
    """Return the agent that `spec` names.

    Raises:
        InputError: its file cannot be read, or no agent has that name.
    """
    if spec.name == "replay":
        return ReplayAgent()
    if spec.name == "noop":
        return NoopAgent()
    if spec.name == "recorded" and spec.recorded is not None:
        return RecordedAgent(spec.recorded)
    raise InputError(f"There is no agent {spec.name!r}; choose replay, noop or recorded.")
