"""An in-memory script of the `Models` protocol, for tests of logic that asks models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from crm_assets.llm import (
    Answer,
    Caller,
    ChatReply,
    ChatRequest,
    MalformedReply,
    ReplyCheck,
    Role,
    Spending,
    Usage,
)

__all__ = ["Say", "ScriptedModels"]

Say = str | Mapping[str, Any] | Exception
Script = Callable[[Caller, ChatRequest], Say]

_ATTEMPTS = 2
_USAGE = Usage(prompt_tokens=10, completion_tokens=5)


class ScriptedModels:
    """Answers as `script` says: a text, an object (sent as JSON), or an error that is raised.

    A reply that the check complains of is asked for once more. Every attempt costs 10 + 5 tokens.
    """

    def __init__(self, script: Script, *, delay: Callable[[ChatRequest], float] | None = None) -> None:
        self._script = script
        self._delay = delay
        self.asked: list[tuple[Caller, ChatRequest]] = []
        self.running = 0
        self.most_at_once = 0

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(self._delay(request) if self._delay else 0)
            return self._answer(caller, request, check)
        finally:
            self.running -= 1

    def _answer(self, caller: Caller, request: ChatRequest, check: ReplyCheck | None) -> Answer:
        spending = Spending()
        for _ in range(_ATTEMPTS):
            self.asked.append((caller, request))
            said = self._script(caller, request)
            if isinstance(said, Exception):
                raise said
            text = said if isinstance(said, str) else json.dumps(said)
            reply = ChatReply(text, usage=_USAGE, cost_usd=0.0)
            spending += Spending(calls=1, usage=_USAGE)
            complaint = check(reply) if check else None
            if complaint is None:
                return Answer(reply, spending)
        raise MalformedReply(complaint or "", reply=reply, spending=spending)

    def spent(self, session: str) -> Mapping[Role, Spending]:
        raise AssertionError("nobody who is tested with this script asks for it")

    @property
    def requests(self) -> list[ChatRequest]:
        """Every question, repeated ones included."""
        return [request for _, request in self.asked]

    def text(self) -> str:
        """All that any model was told."""
        return "\n".join(str(message.content) for request in self.requests for message in request.messages)
