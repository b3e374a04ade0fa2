"""What tests of the client ask with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio

from crm_assets.llm import (
    Caller,
    ChatReply,
    ChatRequest,
    FunctionTool,
    Ledger,
    LedgerEntry,
    Message,
    ModelClient,
    ModelSpec,
    RetryPolicy,
    read_ledger,
)
from tests.llm.scripted_server import ScriptedServer
from tests.waiting import HANG_SECONDS

__all__ = [
    "ALICE",
    "FAST",
    "KEYS",
    "TOOLS",
    "UNPRICED",
    "ask",
    "entries",
    "is_fine",
    "kinds",
    "run",
    "spec_of",
    "with_client",
]

KEYS = {"OPENAI_API_KEY": "sk-canary-openai-4711"}
FAST = RetryPolicy(base_seconds=0.001)
ALICE = Caller("dev/alice#0", "student")
TOOLS = (
    FunctionTool(
        "create_client",
        "Makes a client.",
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    ),
)

_T = TypeVar("_T")


def spec_of(server: ScriptedServer, **changes: Any) -> ModelSpec:
    """A model on the scripted server."""
    fields = {
        "provider": "openai",
        "model": "gpt-4.1-mini",
        "api_base": server.url,
        "timeout_seconds": HANG_SECONDS,  # where nothing hangs, nothing may time out
        # litellm's, which do not hold at a server that is not OpenAI's
        "usd_per_million_prompt_tokens": 0.4,
        "usd_per_million_cached_prompt_tokens": 0.1,
        "usd_per_million_completion_tokens": 1.6,
    }
    return ModelSpec(**{**fields, **changes})


UNPRICED = dict.fromkeys(
    (
        "usd_per_million_prompt_tokens",
        "usd_per_million_cached_prompt_tokens",
        "usd_per_million_completion_tokens",
    )
)
"""Changes that take the price from `spec_of`."""


def ask(spec: ModelSpec, text: str = "hello", **changes: Any) -> ChatRequest:
    """A short question."""
    return ChatRequest(spec, (Message("system", "You work."), Message("user", text)), **changes)


def run(work: Awaitable[_T]) -> _T:
    """The result of `work`, which must not hang."""

    async def bounded() -> _T:
        with anyio.fail_after(HANG_SECONDS):
            return await work

    return asyncio.run(bounded())


def with_client(
    work: Callable[[ModelClient], Awaitable[_T]], path: Path | None = None, /, **options: Any
) -> _T:
    """The result of `work` with a client whose ledger is at `path`."""

    async def opened() -> _T:
        with Ledger(path) as ledger:
            client = ModelClient(
                options.pop("environment", KEYS),
                ledger=ledger,
                retries=options.pop("retries", FAST),
                seed=1,
                **options,
            )
            try:
                return await work(client)
            finally:
                await client.aclose()

    return run(opened())


def entries(path: Path) -> list[LedgerEntry]:
    """The calls that a ledger holds."""
    return list(read_ledger(path))


def kinds(path: Path) -> list[str | None]:
    """What went wrong with each attempt, None where nothing did."""
    return [entry.error.kind if entry.error else None for entry in entries(path)]


def is_fine(reply: ChatReply) -> str | None:
    """Complains of all that is not `fine`."""
    return None if reply.content == "fine" else f"said {reply.content!r}"
