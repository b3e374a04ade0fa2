"""A scripted OpenAI-compatible server: real HTTP on a free loopback port, in a thread of its own.

Nothing of it is mocked: clients open sockets, servers reset them. What is answered is what the script says
(one answer, a list of them in order, or a function of the request), unless a seeded fault comes first.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from tests.waiting import HANG_SECONDS

__all__ = [
    "Faults",
    "Recorded",
    "Scripted",
    "ScriptedServer",
    "broken",
    "calls",
    "hang",
    "rate_limited",
    "refused",
    "reset",
    "text",
    "truncated",
]

_CONNECTION_LIMIT = 1 << 26


@dataclass(frozen=True)
class Recorded:
    """A request as the server got it."""

    body: Any
    headers: Mapping[str, str]
    path: str
    text: str
    at: float
    """When it came (`time.monotonic`)."""

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Scripted:
    """One answer of the server."""

    body: Any = None
    """JSON; bytes are sent as they are."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """On top of the server's latency."""
    reset: bool = False
    """Close the connection with a reset instead of answering."""
    cut: int | None = None
    """Send so many bytes of the body, then close the connection though more were promised."""
    drip: bool = False
    """Send a byte now and then, for ever."""


Script = Scripted | Sequence[Scripted] | Callable[[Recorded], Scripted]


def _completion(message: Mapping[str, Any], finish_reason: str, usage: Mapping[str, Any] | None) -> Any:
    document: dict[str, Any] = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [{"index": 0, "message": dict(message), "finish_reason": finish_reason}],
    }
    if usage is not None:
        document["usage"] = usage
    return document


def _usage(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def text(
    content: Any = "fine",
    *,
    prompt: int = 10,
    completion: int = 5,
    cached: int = 0,
    reasoning: int = 0,
    delay_seconds: float = 0.0,
    finish_reason: str = "stop",
) -> Scripted:
    """An answer in words."""
    message = {"role": "assistant", "content": content}
    usage = _usage(prompt, completion, cached, reasoning)
    return Scripted(_completion(message, finish_reason, usage), delay_seconds=delay_seconds)


def calls(*named: tuple[str, str], content: str | None = None) -> Scripted:
    """An answer that calls tools: name and arguments (text) of each."""
    message = {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(named)
        ],
    }
    return Scripted(_completion(message, "tool_calls", _usage(10, 5, 0, 0)))


def refused(
    status: int, message: str = "no", *, headers: Mapping[str, str] | None = None, **error: Any
) -> Scripted:
    """An error in OpenAI's form."""
    return Scripted({"error": {"message": message, "type": "error", **error}}, status, headers or {})


def rate_limited(**headers: str) -> Scripted:
    """429; `retry_after="2"` sets that header."""
    return refused(
        429, "slow down", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def hang() -> Scripted:
    """No answer for as long as anyone waits."""
    return Scripted(delay_seconds=3600.0)


def reset() -> Scripted:
    """The connection is reset."""
    return Scripted(reset=True)


def truncated() -> Scripted:
    """Half a body."""
    return Scripted(
        orjson.dumps(text("a long answer").body)[:60], headers={"content-type": "application/json"}
    )


def broken(body: Any) -> Scripted:
    """Some other body where a completion should be."""
    return Scripted(body)


@dataclass(frozen=True)
class Faults:
    """Answers that come instead of the script's, with probability `rate`, by a seeded generator."""

    rate: float
    kinds: Sequence[Scripted]
    seed: int = 0


class ScriptedServer:
    """Answers `POST …/chat/completions` as scripted; use it as a context manager."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        latency_seconds: float = 0.0,
        faults: Faults | None = None,
        port: int = 0,
    ) -> None:
        self.script: Script = text() if script is None else script
        self.requests: list[Recorded] = []
        """All that came, in order."""
        self.faulty = 0
        """How many got a fault instead of the script's answer."""
        self.at_once = 0
        """Most requests that were open at a time."""
        self._open = 0
        self._latency = latency_seconds
        self._faults = faults
        self._dice = random.Random(faults.seed if faults else 0)
        self._scripted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="scripted server", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.port = port

    @property
    def url(self) -> str:
        """What goes into `api_base`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        if not self._ready.wait(HANG_SECONDS):
            raise RuntimeError("the scripted server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(HANG_SECONDS)

    def leave(self, seconds: float) -> None:
        """Be away for a while: connections are reset, and nobody listens."""
        asyncio.run_coroutine_threadsafe(self._leave(seconds), self._loop)

    async def _leave(self, seconds: float) -> None:
        (site,) = self._runner.sites
        await site.stop()
        for connection in self._runner.server.connections if self._runner.server else ():
            connection.force_close()
        await asyncio.sleep(seconds)
        await web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=1024).start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        application = web.Application(client_max_size=_CONNECTION_LIMIT)
        application.router.add_post("/{path:.*}", self._answer)
        runner = self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # handlers whose clients no longer wait
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        recorded = Recorded(orjson.loads(raw), dict(request.headers), request.path, raw, time.monotonic())
        self.requests.append(recorded)
        self._open += 1
        self.at_once = max(self.at_once, self._open)
        try:
            return await self._send(request, self._choose(recorded))
        finally:
            self._open -= 1

    def _choose(self, recorded: Recorded) -> Scripted:
        if self._faults and self._dice.random() < self._faults.rate:
            self.faulty += 1
            return self._dice.choice(list(self._faults.kinds))
        script = self.script
        if isinstance(script, Scripted):
            return script
        if callable(script):
            return script(recorded)
        answer = script[min(self._scripted, len(script) - 1)]
        self._scripted += 1
        return answer

    async def _send(self, request: web.Request, answer: Scripted) -> web.StreamResponse:
        if self._latency or answer.delay_seconds:
            await asyncio.sleep(self._latency + answer.delay_seconds)
        if answer.reset:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        body = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        headers = {"content-type": "application/json", **answer.headers}
        if answer.cut is None and not answer.drip:
            return web.Response(body=body, status=answer.status, headers=headers)
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = 1_000_000 if answer.drip else len(body)
        await response.prepare(request)
        while answer.drip:
            await response.write(b" ")
            await asyncio.sleep(0.05)
        await response.write(body[: answer.cut])
        assert request.transport is not None
        request.transport.abort()
        return response
