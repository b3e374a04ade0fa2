"""The agents that a conversation can be run with.

An agent gets what the user says and what its calls return, never the dataset's conversation. Scripted
agents are the exception by design: they repeat calls that are already known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crm_assets.conversations import Conversation, JsonObject, Turn, resolve, turn_output
from crm_assets.conversations.patterns import UUID
from crm_assets.errors import InputError
from crm_assets.harness.alignment import NotRecorded, turns_to_score
from crm_assets.harness.state import created_rows
from crm_assets.records.past import PastResults, PastTurn
from crm_assets.records.results import TokenUsage
from crm_assets.workspace.files import sha256_of_file

__all__ = [
    "Agent",
    "AgentName",
    "AgentSession",
    "AgentSpec",
    "Facts",
    "NotRecordedError",
    "Outcome",
    "ScriptedAgent",
    "ToolCall",
    "TurnEnd",
    "enter",
    "make_agent",
]

Facts = Mapping[str, object]
"""What a result's metadata says, by name."""

TurnEnd = Literal["length", "refusal", "context_overflow"]
"""A reply cut off at the most tokens allowed; a refusal; a conversation longer than the model's context."""

AgentName = Literal["replay", "noop", "recorded"]


@dataclass(frozen=True)
class ToolCall:
    """A tool call of an agent."""

    name: str
    arguments: Any
    """An object, if the agent kept to the rules."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a turn's call, as the agent is shown."""

    called: bool
    result: Any = None
    error: str | None = None


class NotRecordedError(Exception):
    """Raised if a past run holds nothing of a conversation that could be scored."""

    def __init__(self, why: NotRecorded) -> None:
        super().__init__(why.sentence)
        self.reason = why.reason


class AgentSession(ABC):
    """An agent in one conversation."""

    @abstractmethod
    async def act(self, utterance: str) -> ToolCall | None:
        """Return the call that answers what the user said; None for no call."""

    @abstractmethod
    async def reply(self, outcome: Outcome) -> str | None:
        """Return what the agent tells the user: "" for nothing, None if that was not recorded."""

    def usage(self) -> Mapping[str, TokenUsage]:
        """Return the tokens of the turn that has just ended, by role."""
        return {}

    def ended_by(self) -> TurnEnd | None:
        """Return what kept the agent from saying all it had to say in the turn; None for nothing."""
        return None


class Agent(ABC):
    """An agent that works from what the user says."""

    @abstractmethod
    def begin(self, conversation_id: str) -> AgentSession:
        """Enter a conversation; the ID is for its own records."""

    @abstractmethod
    def describe(self) -> Facts:
        """Return what identifies it in results: its name and all that changes what it does."""


class ScriptedAgent(Agent):
    """An agent that repeats known calls, and so is given the conversation."""

    @abstractmethod
    def script(self, conversation: Conversation) -> AgentSession:
        """Enter `conversation` with its script at hand.

        Raises:
            NotRecordedError: there is no script for it.
        """

    def begin(self, conversation_id: str) -> AgentSession:
        """Raise TypeError: it needs its script."""
        raise TypeError("A scripted agent begins with script().")


def enter(agent: Agent, conversation: Conversation) -> AgentSession:
    """Let an agent enter a conversation; only scripted agents get more of it than the ID."""
    if isinstance(agent, ScriptedAgent):
        return agent.script(conversation)
    return agent.begin(conversation.conversation_id)


class _NoopSession(AgentSession):
    async def act(self, utterance: str) -> ToolCall | None:
        return None

    async def reply(self, outcome: Outcome) -> str | None:
        return ""


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

    async def act(self, utterance: str) -> ToolCall | None:
        self._turn = turn = next(self._turns)
        arguments = resolve(turn.expected_args, self._outputs, strict=False)
        return ToolCall(turn.expected_tool, arguments)

    async def reply(self, outcome: Outcome) -> str | None:
        turn = self._turn
        assert turn is not None  # act() comes first
        if outcome.error is None:
            self._outputs[turn.turn_id] = turn_output(outcome.result)
        return turn.expected_response.text if turn.expected_response else ""


class ReplayAgent(ScriptedAgent):
    """The ground truth: shows that dataset, sandbox and verification agree."""

    def script(self, conversation: Conversation) -> AgentSession:
        """Follow the expected calls."""
        return _ReplaySession(conversation)

    def describe(self) -> Facts:
        """Return its name."""
        return {"name": "replay"}


class _RecordedSession(AgentSession):
    """Makes the calls that a past run recorded.

    Where that run created a row, later calls name the ID it got then; they are made with the ID that
    the row has here.
    """

    def __init__(self, turns: Mapping[int, PastTurn]) -> None:
        self._turns = turns
        self._number = 0
        self._ids: dict[str, str] = {}

    async def act(self, utterance: str) -> ToolCall | None:
        self._number += 1
        turn = self._turns.get(self._number)
        if turn is None or turn.tool_name is None:
            return None
        return ToolCall(turn.tool_name, _translated(turn.arguments, self._ids))

    async def reply(self, outcome: Outcome) -> str | None:
        turn = self._turns.get(self._number)
        if turn is None:
            return None
        then = created_rows([(turn.tool_name, turn.result)])
        here = created_rows([(turn.tool_name, outcome.result)])
        self._ids.update(zip(then, here, strict=False))  # one each, or none where the call failed
        return turn.agent_response_text

    def usage(self) -> Mapping[str, TokenUsage]:
        turn = self._turns.get(self._number)
        return turn.usage if turn else {}


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
