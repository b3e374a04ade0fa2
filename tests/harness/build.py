"""Small conversations and agents to run them with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from crm_assets.conversations import Conversation
from crm_assets.crm import SandboxPool
from crm_assets.harness import (
    Action,
    Agent,
    AgentSession,
    ConversationRunner,
    GroundTruth,
    GroundTruthStore,
    Outcome,
    ScriptedAgent,
    ToolCall,
)
from crm_assets.records import ConversationResult, TokenUsage

ACME = "11111111-1111-4111-8111-111111111111"
BETA = "22222222-2222-4222-8222-222222222222"
DEAL = "33333333-3333-4333-8333-333333333333"
UNKNOWN = "99999999-9999-4999-8999-999999999999"

SEEDS: Mapping[str, Any] = {
    "Client": {
        ACME: {"name": "Acme", "email": "a@acme.example"},
        BETA: {"name": "Beta", "email": "b@beta.example"},
    },
    "Opportunity": {
        DEAL: {"name": "Deal", "client_id": ACME, "amount": 1000, "stage": "Proposal", "probability": 40}
    },
}

NEW_CLIENT = {"name": "Gamma", "email": "c@gamma.example", "status": "Active"}

Document = dict[str, Any]


def turn(tool: str, arguments: Mapping[str, Any] | None = None, **fields: Any) -> Document:
    """The JSON of a turn, its number left to `document`."""
    return {
        "user_utterance": f"Please use {tool}.",
        "expected_tool": tool,
        "expected_args": dict(arguments or {}),
        **fields,
    }


def refused(tool: str, arguments: Mapping[str, Any], message: str | None = None) -> Document:
    """The JSON of a turn that is expected to fail."""
    return turn(tool, arguments, expect_success=False, expected_error_substring=message)


def answered(document: Document, text: str, **fields: Any) -> Document:
    """`document` with an expected reply."""
    return {**document, "expected_response": {"text": text, **fields}}


def document(
    *turns: Document,
    conversation_id: str = "c-1",
    seeds: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Document:
    """The JSON of a conversation that starts from `SEEDS`."""
    return {
        "conversation_id": conversation_id,
        "workflow_category": "Client Management",
        "complexity_level": "simple",
        "turns": [{"turn_id": number, **entry} for number, entry in enumerate(turns, start=1)],
        "initial_entities": {"seed_data": dict(SEEDS if seeds is None else seeds)},
        **fields,
    }


def conversation(*turns: Document, **fields: Any) -> Conversation:
    """A conversation that starts from `SEEDS`."""
    return Conversation.model_validate(document(*turns, **fields))


def write_dataset(path: Path, documents: Iterable[Document]) -> Path:
    """A dataset file of `documents`."""
    path.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in documents))
    return path


def read_lines(path: Path) -> list[Document]:
    """The JSON lines of a file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def many(count: int, *, turns: int = 3) -> list[Document]:
    """As many short conversations, each different, that replay."""
    return [
        document(
            turn("client_search", {"name": "Acme"}),
            *(
                turn(
                    "add_note", {"entity_type": "Client", "entity_id": ACME, "content": f"{number}/{step}"}
                )
                for step in range(turns - 1)
            ),
            conversation_id=f"many-{number:05d}",
        )
        for number in range(count)
    ]


Rounds = ToolCall | Sequence[ToolCall | Sequence[ToolCall]] | None
"""The calls of a turn: one, none, or several, each by itself or a round of them."""
Step = tuple[Rounds, str | None]


class _Session(AgentSession):
    def __init__(self, steps: Sequence[Step], tokens: Mapping[str, TokenUsage], most: int) -> None:
        self._steps = iter(steps)
        self._rounds: list[Sequence[ToolCall]] = []
        self._reply: str | None = None
        self._tokens = tokens
        self._most = most
        self.heard: list[str] = []
        self.outcomes: list[Outcome] = []

    @property
    def most_calls(self) -> int:
        return self._most

    async def act(self, utterance: str) -> Action:
        self.heard.append(utterance)
        calls, self._reply = next(self._steps)
        listed = [] if calls is None else [calls] if isinstance(calls, ToolCall) else calls
        self._rounds = [(entry,) if isinstance(entry, ToolCall) else entry for entry in listed]
        return self._next()

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        self.outcomes += outcomes
        return self._next()

    def _next(self) -> Action:
        return Action(self._rounds.pop(0) if self._rounds else (), self._reply)

    def usage(self) -> Mapping[str, TokenUsage]:
        return self._tokens


class Caller(Agent):
    """Makes the given calls in order, whatever it hears; keeps what it is told."""

    def __init__(
        self,
        *steps: ToolCall | Step | None,
        tokens: Mapping[str, TokenUsage] | None = None,
        most_calls: int = 1,
    ) -> None:
        self._steps = [step if isinstance(step, tuple) else (step, "") for step in steps]
        self._tokens = tokens or {}
        self._most = most_calls
        self.begun: list[str] = []
        self.session = _Session((), {}, most_calls)

    @property
    def heard(self) -> list[str]:
        return self.session.heard

    @property
    def outcomes(self) -> list[Outcome]:
        return self.session.outcomes

    def begin(self, conversation_id: str) -> AgentSession:
        self.begun.append(conversation_id)
        self.session = _Session(self._steps, self._tokens, self._most)
        return self.session

    def describe(self) -> Mapping[str, Any]:
        return {"name": "caller"}


class Script(ScriptedAgent):
    """An agent that is given the conversation, and does with it what a function says."""

    def __init__(self, write: Callable[[Conversation], AgentSession]) -> None:
        self._write = write

    def script(self, conversation: Conversation) -> AgentSession:
        return self._write(conversation)

    def describe(self) -> Mapping[str, Any]:
        return {"name": "script"}


def call(tool: str, **arguments: Any) -> ToolCall:
    return ToolCall(tool, arguments)


class Harness:
    """Runs single conversations on a pool of sandboxes."""

    def __init__(self, pool: SandboxPool, store: GroundTruthStore) -> None:
        self.pool = pool
        self.store = store

    def truth(self, conversation: Conversation) -> GroundTruth:
        """The ground truth, which must be computable."""
        [truth] = self.store.get_many([conversation])
        assert isinstance(truth, GroundTruth), truth
        return truth

    def run(
        self, conversation: Conversation, agent: Agent, truth: GroundTruth | Exception | None = None
    ) -> ConversationResult:
        """Run `agent`; the ground truth is computed unless it is given."""
        if truth is None:
            [truth] = self.store.get_many([conversation])
        return asyncio.run(ConversationRunner(self.pool).run(conversation, truth, agent=agent))
