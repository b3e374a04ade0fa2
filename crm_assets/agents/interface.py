"""The interface that an agent of your own is written for (`agent.type: python`).

A factory makes one agent for each conversation. The agent has a method `turn(user, crm)`, sync or async,
that returns its reply, and may have `close()`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["AsyncCrm", "Crm", "ToolRefused"]

Exchange = Callable[[str, Any], Any]
"""Makes a call and returns its result. Raises ToolRefused."""


class ToolRefused(Exception):
    """Raised by a call that the CRM refuses; the conversation goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Crm:
    """The CRM in one conversation."""

    def __init__(self, exchange: Exchange, tools: list[dict[str, Any]], instructions: str) -> None:
        self._exchange = exchange
        self._one_at_a_time = threading.Lock()
        self.tools = tools
        """The tools, as OpenAI's API takes them: `{"type": "function", "function": {…}}`."""
        self.instructions = instructions
        """The configured system prompt, then what was learned from earlier conversations and the teacher's
        guidance. An agent that does not read it learns nothing."""
        self.reported: dict[str, float] = {}

    def call(self, name: str, arguments: Any = None) -> Any:
        """Call a tool; return its result as plain JSON values.

        Raises:
            ToolRefused: the CRM refused, or the turn may make no more calls.
        """
        with self._one_at_a_time:
            return self._exchange(name, {} if arguments is None else arguments)

    def report_usage(
        self,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Add to what this turn took; results mark it as the agent's own word."""
        amounts = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "cost_usd": cost_usd,
        }
        for name, amount in amounts.items():
            if amount is not None:
                self.reported[name] = self.reported.get(name, 0) + amount


class AsyncCrm(Crm):
    """The CRM in one conversation, for an async agent."""

    async def call(  # an async agent awaits it
        self, name: str, arguments: Any = None
    ) -> Any:
        """Call a tool; return its result as plain JSON values.

        Raises:
            ToolRefused: the CRM refused, or the turn may make no more calls.
        """
        return await asyncio.to_thread(super().call, name, arguments)
