"""litellm in processes of its own: the same replies, and no way for one of them to end a run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest

from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.llm import (
    Caller,
    ChatRequest,
    FunctionTool,
    Ledger,
    Message,
    ModelClient,
    ModelError,
    ModelSpec,
    RetryPolicy,
)
from crm_assets.llm.processes import BackendProcesses
from crm_assets.offline_models import OfflineServer

KEY = "sk-canary-of-the-processes"
TOOLS = (FunctionTool("quote_prefixes", "List the quote prefixes.", {"type": "object", "properties": {}}),)


OFFLINE = ModelSpec(provider="offline", model="student")


def request(spec: ModelSpec, text: str = "List the quote prefixes.") -> ChatRequest:
    return ChatRequest(spec, (Message("user", text),), tools=TOOLS)


def with_client(work: Callable[[ModelClient], Awaitable[object]], *, processes: int = 2) -> Ledger:
    ledger = Ledger()

    async def main() -> None:
        client = ModelClient(
            {"OPENAI_API_KEY": KEY},
            ledger=ledger,
            processes=processes,
            retries=RetryPolicy(base_seconds=0.001),
        )
        try:
            await work(client)
        finally:
            await client.aclose()

    before = set(psutil.Process().children(recursive=True))
    asyncio.run(main())
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert [child for child in left if "resource_tracker" not in " ".join(child.cmdline())] == []
    return ledger


def test_replies_are_those_of_one_process() -> None:
    texts = ["List the quote prefixes.", "Show all clients.", "List the quote prefixes."]
    replies: dict[int, list[object]] = {}

    for processes in (0, 2):

        async def ask(client: ModelClient, processes: int = processes) -> None:
            asked = [
                client.complete(Caller(f"s{n}", "student"), request(OFFLINE, t))
                for n, t in enumerate(texts)
            ]
            replies[processes] = [answer.reply for answer in await asyncio.gather(*asked)]

        with_client(ask, processes=processes)
    assert replies[0] == replies[2]


def test_a_process_that_is_killed_costs_an_attempt_and_no_call() -> None:
    spec = ModelSpec(provider="openai", model="offline-student", api_base="set below", timeout_seconds=20)

    with OfflineServer(latency_seconds=0.5) as server:
        spec = spec.model_copy(update={"api_base": server.url})

        async def ask(client: ModelClient) -> None:
            await client.complete(Caller("first", "student"), request(spec))
            asked = [
                asyncio.ensure_future(client.complete(Caller(f"s{n}", "student"), request(spec)))
                for n in range(4)
            ]
            await asyncio.sleep(0.2)
            victim = next(
                child
                for child in psutil.Process().children()
                if "processes import serve" in " ".join(child.cmdline())
            )
            os.kill(victim.pid, signal.SIGKILL)
            answers = await asyncio.gather(*asked)
            assert all(answer.reply.tool_calls for answer in answers)

        ledger = with_client(ask, processes=1)
    total = ledger.total()
    assert total.calls - total.failed_calls == 5
    assert total.failed_calls == 4


def test_a_call_that_is_given_up_is_given_up_there_too_and_no_key_can_be_seen() -> None:
    with OfflineServer(latency_seconds=30.0) as server:
        spec = ModelSpec(
            provider="openai", model="offline-student", api_base=server.url, timeout_seconds=60
        )
        took: list[float] = []

        async def ask(client: ModelClient) -> None:
            await client.complete(Caller("warm", "student"), request(OFFLINE))
            lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
            assert not [line for line in lines if KEY in line]
            asked = asyncio.ensure_future(client.complete(Caller("s", "student"), request(spec)))
            await asyncio.sleep(0.1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            took.append(time.monotonic())

        ledger = with_client(ask, processes=1)
        assert time.monotonic() - took[0] < 10, "the process did not wait for the answer"
    assert (ledger.total().calls, ledger.total().failed_calls) == (2, 1)


def test_a_missing_key_is_told_before_a_process_starts() -> None:
    async def ask(client: ModelClient) -> None:
        with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
            await client.complete(Caller("s", "judge"), request(ModelSpec(provider="gemini", model="g")))
        assert not [
            c for c in psutil.Process().children() if "processes import serve" in " ".join(c.cmdline())
        ]

    with_client(ask)


def test_processes_that_cannot_start_are_one_sentence_and_no_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crm_assets.llm.processes._PROGRAM", "raise SystemExit('no memory')")

    async def ask(client: ModelClient) -> None:
        with pytest.raises(InfrastructureError, match="end before they have asked anything"):
            for n in range(20):
                with contextlib.suppress(ModelError):
                    await client.complete(Caller(f"s{n}", "student"), request(OFFLINE))

    with_client(ask)


def test_a_process_that_ends_while_another_one_starts_costs_an_attempt_and_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = BackendProcesses._start
    left = [1]

    async def slow_start(self: BackendProcesses) -> object:
        with pytest.MonkeyPatch.context() as patch:
            if left and left.pop():
                patch.setattr("crm_assets.llm.processes._PROGRAM", "")
            peer = await start(self)
        if not peer.process.args[2]:
            await asyncio.to_thread(peer.process.wait)
        await asyncio.sleep(0.2)  # the first one's end has been heard of by now
        return peer

    monkeypatch.setattr(BackendProcesses, "_start", slow_start)

    async def ask(client: ModelClient) -> None:
        answer = await asyncio.wait_for(client.complete(Caller("s", "student"), request(OFFLINE)), 60)
        assert answer.reply.tool_calls

    total = with_client(ask).total()
    assert (total.calls, total.failed_calls) == (2, 1)


def test_the_runs_own_process_imports_no_litellm() -> None:
    import subprocess

    script = (
        "import asyncio, sys\n"
        "from crm_assets.llm import *\n"
        "async def main():\n"
        "    client = ModelClient({}, processes=1)\n"
        "    spec = ModelSpec(provider='offline', model='student')\n"
        "    await client.complete(Caller('s', 'student'), "
        "ChatRequest(spec, (Message('user', 'Hello'),)))\n"
        "    await client.aclose()\n"
        "asyncio.run(main())\n"
        "print('litellm' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stdout.strip() == "False", done.stderr
