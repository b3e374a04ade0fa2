"""An agent of your own, of any type, as an agent of the harness."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from crm_assets.agents.links import AgentBroken, AgentHost, AgentLink
from crm_assets.agents.messages import Begin, Call, CallOutcome, Failed, Reply, Turn
from crm_assets.harness import Action, Agent, AgentSession, Outcome, ToolCall, TurnEnd
from crm_assets.llm.reading import DEEPEST, LARGEST_INTEGER

__all__ = ["ExternalAgent", "TurnLimits"]

_USED_UP = "This turn may make no more calls; reply to the user."
_MOST_REFUSED = 100


@dataclass(frozen=True)
class TurnLimits:
    """Limits of one turn."""

    calls: int
    seconds: float
    """Of its own; the time that its calls take does not count."""


@dataclass(frozen=True)
class ExternalAgent(Agent):
    """An agent outside of this process, with a link for each conversation."""

    host: AgentHost
    facts: Mapping[str, object]
    """What identifies it in results."""
    tools: Sequence[Mapping[str, Any]]
    """As OpenAI's API takes them."""
    instructions: str
    limits: TurnLimits

    def begin(self, conversation_id: str) -> AgentSession:
        """Enter a conversation; the agent is started in the first turn, and is not told the ID."""
        return _ExternalSession(self)

    def describe(self) -> Mapping[str, object]:
        """Return what identifies it."""
        return self.facts


class _ExternalSession(AgentSession):
    def __init__(self, agent: ExternalAgent) -> None:
        self._agent = agent
        self._link: AgentLink | None = None
        self._failure: str | None = None
        self._turn = 0
        self._seconds = 0.0
        """Left for this turn."""
        self._reported: dict[str, float] = {}
        self._left_running = 0

    @property
    def most_calls(self) -> int:
        """Number of calls made per turn."""
        return self._agent.limits.calls

    async def act(self, utterance: str) -> Action:
        """Tell the agent what the user says; return its first call or its reply.

        Raises:
            ConfigError: the agent cannot be started, in this conversation or any other.
        """
        self._turn += 1
        self._seconds = self._agent.limits.seconds
        if self._failure is not None:
            return Action(reply="")
        if self._link is None:
            self._link = await self._agent.host.open()
            tools = [dict(tool) for tool in self._agent.tools]
            self._link.send(Begin(tools, self._agent.instructions))
        self._link.send(Turn(utterance, self._turn))
        return await self._next(may_call=True)

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        """Tell the agent what came of its call; return its next one or its reply."""
        assert self._link is not None
        (outcome,) = outcomes  # it waits for one before it makes another
        self._link.send(CallOutcome(outcome.result, outcome.error))
        return await self._next(may_call=may_call)

    async def _next(self, *, may_call: bool) -> Action:
        """Return the next step; calls beyond the most of a turn are refused and go with the reply."""
        assert self._link is not None
        refused: list[ToolCall] = []
        while True:
            try:
                message = await self._receive(self._link)
                if isinstance(message, Reply):
                    if message.number != self._turn:  # as after a fork that both sides go on from
                        raise AgentBroken(f"it replied again to turn {message.number}, which had ended")
                    for name, amount in message.reported.items():
                        self._reported[name] = self._reported.get(name, 0) + amount
                    return Action(tuple(refused), message.text)
                if isinstance(message, Failed):
                    raise AgentBroken(message.reason)
                _require_recordable(message)
                if len(refused) == _MOST_REFUSED:
                    raise AgentBroken(f"it asked for {_MOST_REFUSED} more calls after the last of its turn")
            except AgentBroken as error:
                await self._fail(str(error))
                return Action(tuple(refused), "")
            assert isinstance(message, Call)
            call = ToolCall(message.name, message.arguments)
            if may_call:
                return Action((call,))
            refused.append(call)
            self._link.send(CallOutcome(error=_USED_UP))

    async def _receive(self, link: AgentLink) -> Reply | Call | Failed:
        started = time.perf_counter()
        try:
            with anyio.fail_after(max(0.0, self._seconds)):
                message = await link.receive()
        except TimeoutError:
            raise AgentBroken(f"it took longer than {self._agent.limits.seconds:g} s for a turn") from None
        self._seconds -= time.perf_counter() - started
        return message

    async def _fail(self, reason: str) -> None:
        self._failure = reason
        await self._end(patiently=False)

    def ended_by(self) -> TurnEnd | None:
        """Return `agent_error` from the turn on in which the agent failed."""
        return None if self._failure is None else "agent_error"

    def notes(self) -> Mapping[str, object]:
        """Return why it failed, what it wrote, and what it says it took."""
        found = {
            "agent_failure": self._failure,
            "agent_output": self._link.output if self._link else None,
            "agent_reported": self._reported,
            "agent_left_running": self._left_running,
        }
        return {name: value for name, value in found.items() if value}

    async def end(self) -> None:
        """Leave the conversation, and end whatever the agent has started."""
        if self._failure is None:
            await self._end(patiently=True)

    async def _end(self, *, patiently: bool) -> None:
        if self._link is not None:
            with anyio.CancelScope(shield=True):
                self._left_running, late = await self._link.end(patiently=patiently)
            self._failure = self._failure or late


def _require_recordable(call: Call) -> None:
    """Raise AgentBroken for arguments that results cannot hold."""
    level: list[object] = [call.arguments]
    for _ in range(DEEPEST + 1):
        if any(isinstance(value, int) and abs(value) > LARGEST_INTEGER for value in level):
            raise AgentBroken(f"it called {call.name} with a number that is too large")
        level = [part for value in level for part in _parts(value)]
        if not level:
            return
    raise AgentBroken(f"it called {call.name} with arguments nested more than {DEEPEST} deep")


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
