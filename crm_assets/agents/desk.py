"""The desk of a session: where calls over HTTP or MCP wait for the harness."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from crm_assets.agents.links import AgentBroken
from crm_assets.agents.messages import Begin, Call, CallOutcome, Failed, Reply
from crm_assets.errors import CrmAssetsError

__all__ = ["Desk"]

_ENDED = "The conversation has ended."
_HIDDEN = "[token]"


class Desk:
    """Takes the calls of one session's agent, one at a time and only during its turns."""

    def __init__(self, close: Callable[[Desk], None]) -> None:
        """Open a desk with an ID and a token of its own.

        Args:
            close: is told when the desk closes.
        """
        self.id = uuid4().hex
        """Names the session in its addresses; no secret."""
        self.token = secrets.token_urlsafe(32)
        """Opens this desk, and nothing else."""
        self.tools: Sequence[Mapping[str, Any]] = ()
        self.instructions = ""
        self.turn = 0
        """Number of the current or last turn."""
        self.in_turn = False
        self.heard = asyncio.Event()
        """Is set by the agent's first sign of life."""
        self._messages: asyncio.Queue[Call | Reply | Failed | CrmAssetsError] = asyncio.Queue()
        self._waiting: deque[asyncio.Future[CallOutcome]] = deque()
        self._close = close
        self._violation: str | None = None

    def begin(self, message: Begin) -> None:
        """Keep what the agent is given."""
        self.tools, self.instructions = message.tools, message.instructions

    def start_turn(self, number: int) -> None:
        """Take calls from now on."""
        self.turn, self.in_turn = number, True

    async def call(self, name: str, arguments: Any) -> CallOutcome:
        """Return what comes of a call that the agent asks for."""
        if not self.in_turn:  # no call is made between turns: it would change what is verified
            self.violate(f"it called {name} after its turn had ended")
            return CallOutcome(error="The turn has ended.")
        outcome: asyncio.Future[CallOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(outcome)
        self._messages.put_nowait(Call(name, arguments))
        return await outcome

    def answer(self, outcome: CallOutcome) -> None:
        """Hand over what came of the oldest call."""
        waiting = self._waiting.popleft()
        if not waiting.done():  # it is, if the agent gave up waiting
            waiting.set_result(outcome)

    def reply(self, reply: Reply) -> None:
        """End the turn, unless it had ended."""
        if not self.in_turn:
            self.violate(f"it replied again to turn {self.turn}, which had ended")
            return
        self.in_turn = False
        self.heard.set()
        self._messages.put_nowait(reply)

    def fail(self, reason: str | CrmAssetsError) -> None:
        """Say that the agent cannot go on: by its own fault, or because it cannot be used at all."""
        self.heard.set()
        self._messages.put_nowait(Failed(self.hide(reason)) if isinstance(reason, str) else reason)

    def violate(self, reason: str) -> None:
        """Say that the agent did what it may not; `close` tells it, too, as no turn may follow."""
        self._violation = self._violation or reason
        self.fail(reason)

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message (see `AgentLink.receive`)."""
        message = await self._messages.get()
        if isinstance(message, CrmAssetsError):
            raise message
        if isinstance(message, Failed):
            raise AgentBroken(message.reason)
        return message

    def close(self) -> str | None:
        """Refuse all further calls; return what the agent did and may not."""
        self.in_turn = False
        self.heard.set()
        self._close(self)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(CallOutcome(error=_ENDED))
        self._waiting.clear()
        return self._violation

    def hide(self, text: str) -> str:
        """Return a text without the token, which is to be in no file."""
        return text.replace(self.token, _HIDDEN)

    def hide_bytes(self, data: bytes) -> bytes:
        """Return what an agent sent without the token."""
        return data.replace(self.token.encode(), _HIDDEN.encode())
