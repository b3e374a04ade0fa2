"""Define the agent protocol: calls and their outcomes, round by round, until the agent replies.

An agent gets what the user says and what its calls return, never the dataset's conversation. Scripted
agents are the exception by design: they repeat calls that are already known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from crm_assets.conversations import Conversation
from crm_assets.crm import TOOLS, ToolError
from crm_assets.harness.alignment import NotRecorded
from crm_assets.records.results import TokenUsage

__all__ = [
    "Action",
    "Agent",
    "AgentSession",
    "Facts",
    "MadeCall",
    "NotRecordedError",
    "Outcome",
    "ScriptedAgent",
    "TakenTurn",
    "ToolCall",
    "TurnEnd",
    "enter",
    "take_turn",
]

Facts = Mapping[str, object]
"""A result's metadata, by name."""

TurnEnd = Literal["length", "refusal", "context_overflow", "agent_error"]
"""A reply cut off at the most tokens allowed; a refusal; a conversation longer than the model's context; an
agent that raised an error, ended or took too long."""


@dataclass(frozen=True)
class ToolCall:
    """A tool call of an agent."""

    name: str
    arguments: Any
    """An object, if the agent kept to the rules."""

    @property
    def writes(self) -> bool:
        """True if its tool can change the database."""
        tool = TOOLS.get(self.name)
        return tool is not None and tool.action.writes


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call, as the agent is shown."""

    called: bool
    """False for a call beyond the most of a turn: it was not made."""
    result: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Action:
    """An agent's next step: calls to make, or else its reply to the user."""

    calls: Sequence[ToolCall] = ()
    """In the order in which they are to be made."""
    reply: str | None = None
    """Counts where no call is made: "" for nothing, None if it was not recorded."""


class NotRecordedError(Exception):
    """Raised if a past run holds nothing of a conversation that could be scored."""

    def __init__(self, why: NotRecorded) -> None:
        super().__init__(why.sentence)
        self.reason = why.reason


class AgentSession(ABC):
    """An agent in one conversation."""

    @abstractmethod
    async def act(self, utterance: str) -> Action:
        """Return what the agent does first about what the user said."""

    @abstractmethod
    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        """Return what the agent does next.

        Args:
            outcomes: of the calls of its last action, one each.
            may_call: whether another call would be made; if not, the turn ends with its reply.
        """

    @property
    def most_calls(self) -> int:
        """Maximum number of calls in the current turn."""
        return 1

    def usage(self) -> Mapping[str, TokenUsage]:
        """Return the tokens of the turn that has just ended, by role."""
        return {}

    def ended_by(self) -> TurnEnd | None:
        """Return what kept the agent from saying all it had to say in the turn; None for nothing."""
        return None

    def notes(self) -> Facts:
        """Return what else results say of the agent in this conversation, once it has ended."""
        return {}

    async def end(self) -> None:  # noqa: B027  (most hold nothing that must be closed)
        """Leave the conversation, also one that failed."""


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


@dataclass(frozen=True)
class MadeCall:
    """A call that was made, and what came of it."""

    call: ToolCall
    outcome: Outcome
    refusal: ToolError | None = None


@dataclass(frozen=True)
class TakenTurn:
    """A turn as the agent took it."""

    made: list[MadeCall] = field(default_factory=list)
    dropped: list[ToolCall] = field(default_factory=list)
    """Calls that the agent asked for beyond the most of a turn."""
    reply: str | None = None


async def take_turn(
    agent: AgentSession, utterance: str, make: Callable[[ToolCall], Awaitable[MadeCall]]
) -> TakenTurn:
    """Let an agent take a turn: make its calls until it replies, or may make no more.

    Args:
        agent: in its conversation.
        utterance: what the user says.
        make: makes a call.
    """
    made: list[MadeCall] = []
    dropped: list[ToolCall] = []
    action = await agent.act(utterance)
    most = agent.most_calls
    while action.calls:
        room = most - len(made)
        dropped += action.calls[room:]
        if room == 0:
            break
        outcomes = []
        for call in action.calls[:room]:
            made.append(await make(call))
            outcomes.append(made[-1].outcome)
        outcomes += [Outcome(called=False)] * (len(action.calls) - len(outcomes))
        action = await agent.proceed(outcomes, may_call=len(made) < most)
    return TakenTurn(made, dropped, action.reply)
