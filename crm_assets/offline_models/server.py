"""The offline models behind OpenAI's HTTP interface: the path of a real provider, without key or cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType

import orjson
from aiohttp import web

from crm_assets.errors import InfrastructureError
from crm_assets.llm.messages import ChatReply, Message, Usage
from crm_assets.offline_models.dispatch import MODELS, answer
from crm_assets.offline_models.faults import FaultKind, FaultMix, FaultSource, spoil, suits
from crm_assets.offline_models.requests import Document, request_of

__all__ = ["OfflineServer", "serve"]

_BODY_LIMIT = 64 * 2**20
_STATUS = {"429": 429, "429_retry_after": 429, "500": 500}
_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.1
"""For open requests; 0 would mean to aiohttp that it waits for ever."""


class _Service:
    """Answers requests, with faults mixed in."""

    def __init__(self, latency_seconds: float, faults: FaultMix | None) -> None:
        self._latency = latency_seconds
        self._faults = FaultSource(faults) if faults else None
        self._served = 0

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_BODY_LIMIT)
        application.router.add_post("/v1/chat/completions", self._complete)
        application.router.add_get("/v1/models", self._models)
        return application

    async def _models(self, request: web.Request) -> web.Response:
        listed = [{"id": name, "object": "model", "owned_by": "offline"} for name in MODELS]
        return _json({"object": "list", "data": listed})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        raw = await request.read()
        try:
            body = orjson.loads(raw)
            model = str(body["model"])
            reply = answer(model, request_of(body))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return _failure(400, f"The request cannot be read ({type(error).__name__}).")
        if (left := arrived + self._latency - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._served += 1
        completion = _completion(self._served, model, reply)
        kind = self._faults.draw(raw) if self._faults else None
        if kind is None or not suits(kind, completion):
            return _json(completion)
        return await self._faulty(request, kind, completion)

    async def _faulty(
        self, request: web.Request, kind: FaultKind, completion: Document
    ) -> web.StreamResponse:
        assert self._faults is not None
        if kind in _STATUS:
            headers = {"Retry-After": self._faults.plan.retry_after} if kind == "429_retry_after" else {}
            return _failure(_STATUS[kind], "Not now.", headers)
        if kind == "hang":
            await asyncio.Event().wait()  # until the client or the server gives up
        if kind == "reset":
            return _torn(request)
        if kind == "truncated_body":
            return _half(orjson.dumps(completion))
        return _json(spoil(kind, completion))


def _torn(request: web.Request) -> web.StreamResponse:
    """Reset the connection; the returned response reaches no client."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _half(body: bytes) -> web.Response:
    """Return half of the body as if it were complete."""
    return web.Response(body=body[: len(body) // 2], content_type="application/json")


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    error = {"error": {"message": message, "type": "offline", "code": status}}
    return web.Response(
        status=status, body=orjson.dumps(error), content_type="application/json", headers=headers
    )


def _completion(number: int, model: str, reply: ChatReply) -> Document:
    message = Message("assistant", reply.content, reply.tool_calls).document()
    usage = reply.usage or Usage()
    return {
        "id": f"chatcmpl-offline-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


class OfflineServer:
    """The server in a thread of its own, for the length of a context.

    The model's name selects who answers (`teacher`, `my-judge`); for other names the prompt does.
    """

    def __init__(
        self, port: int = 0, *, latency_seconds: float = 0.0, faults: FaultMix | None = None
    ) -> None:
        """Prepare to serve on `port` of the loopback interface; 0 selects a free one."""
        self._port = port
        self._service = _Service(latency_seconds, faults)
        self._loop = asyncio.new_event_loop()
        self._ready: threading.Event = threading.Event()
        self._stop = asyncio.Event()
        self._failed: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="offline-models", daemon=True)

    @property
    def url(self) -> str:
        """Return the address for `api_base` or OPENAI_API_BASE."""
        return f"http://{_HOST}:{self._port}/v1"

    def __enter__(self) -> OfflineServer:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise _port_error(self._port, self._failed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        await _serving(self._service, self._port, self._started, self._stop)

    def _started(self, port: int) -> None:
        self._port = port
        self._ready.set()


async def _serving(
    service: _Service, port: int, started: Callable[[int], None], stop: asyncio.Event
) -> None:
    """Serve until `stop`; open requests are dropped then."""
    runner = web.AppRunner(
        service.application(),
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, port)
        await site.start()
        started(int(runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()


def _port_error(port: int, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"Cannot serve on port {port} of {_HOST} ({error.strerror or error}); choose another port."
    )


def serve(
    port: int = 0,
    *,
    latency_seconds: float = 0.0,
    faults: FaultMix | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve on `port` of the loopback interface until interrupted.

    Args:
        port: the port; 0 selects a free one.
        latency_seconds: least time from a request's arrival to its answer.
        faults: the faults to mix in.
        ready: called with the address once the server answers.

    Raises:
        InfrastructureError: the port is not available.
    """

    def started(taken: int) -> None:
        if ready is not None:
            ready(f"http://{_HOST}:{taken}/v1")

    async def run() -> None:
        await _serving(_Service(latency_seconds, faults), port, started, asyncio.Event())

    try:
        asyncio.run(run())
    except OSError as error:
        raise _port_error(port, error) from None
