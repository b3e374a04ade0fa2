"""The HTTP server of a run on the loopback, on which agents reach the sandboxes of their sessions.

For each session it has two addresses, which its token opens while the session lasts:

    POST /<session>/call    {"name": …, "arguments": {…}} → {"result": …} or {"error": …}
    POST /<session>/mcp     the Model Context Protocol over streamable HTTP
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn

from crm_assets.agents.desk import Desk
from crm_assets.agents.links import MESSAGE_BYTES
from crm_assets.agents.messages import CallOutcome

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.types import Receive, Scope, Send

__all__ = ["HOST", "Endpoint"]

HOST = "127.0.0.1"
_IDLE_SECONDS = 3600
_ENDING_SECONDS = 1


class _CallBody(msgspec.Struct):
    name: str
    arguments: Any = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(_CallBody)
_encoder = msgspec.json.Encoder()


class _Refused(Exception):
    """A request that is refused, and with which status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Endpoint:
    """The server; listens from the first session on. Belongs to one event loop."""

    def __init__(self) -> None:
        self._desks: dict[str, Desk] = {}
        self._base: str | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._mcp: StreamableHTTPSessionManager | None = None

    def open(self) -> Desk:
        """Open the desk of a new session; it closes itself."""
        if self._base is None:
            self._start()
        desk = Desk(self._forget)
        self._desks[desk.id] = desk
        return desk

    def _forget(self, desk: Desk) -> None:
        self._desks.pop(desk.id, None)

    def call_url(self, desk: Desk) -> str:
        """Return the address of a session's tools."""
        return f"{self._base}/{desk.id}/call"

    def mcp_url(self, desk: Desk) -> str:
        """Return the address of a session's MCP server."""
        return f"{self._base}/{desk.id}/mcp"

    def _start(self) -> None:
        from crm_assets.agents.mcp_server import session_manager  # noqa: PLC0415  (takes a second)

        self._mcp = session_manager()
        listening = socket.create_server((HOST, 0), backlog=1024)
        self._base = f"http://{HOST}:{listening.getsockname()[1]}"
        self._server = _Server(
            uvicorn.Config(
                self._serve,
                log_config=None,
                access_log=False,
                interface="asgi3",
                lifespan="off",
                proxy_headers=False,
                ws="none",
                timeout_keep_alive=_IDLE_SECONDS,  # a model may think for minutes between two calls
                timeout_graceful_shutdown=_ENDING_SECONDS,
            )
        )
        self._serving = asyncio.create_task(self._run(self._server, self._mcp, listening))

    async def _run(
        self, server: _Server, manager: StreamableHTTPSessionManager, listening: socket.socket
    ) -> None:
        async with manager.run():
            await server.serve(sockets=[listening])

    async def aclose(self) -> None:
        """Stop serving."""
        for desk in list(self._desks.values()):
            desk.close()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        self._base = None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            desk, door = self._enter(scope)
            body = desk.hide_bytes(await _body(receive, desk))
            if door == "mcp":
                assert self._mcp is not None  # made before the server
                scope["crm_desk"] = desk
                await self._mcp.handle_request(scope, _replay(body, receive), send)
                return
            status, answer = 200, await _call(desk, body)
        except _Refused as refusal:
            status, answer = refusal.status, CallOutcome(error=str(refusal))
        await _respond(send, status, answer)

    def _enter(self, scope: Scope) -> tuple[Desk, str]:
        """Return the desk that a request may use, and by which door."""
        name, _, door = scope["path"][1:].partition("/")
        token = _token(scope["headers"])
        desk = self._desks.get(name)
        if desk is None or not hmac.compare_digest(token, desk.token.encode()):
            for other in self._desks.values():
                if hmac.compare_digest(token, other.token.encode()):
                    other.violate("it called the endpoint of another session")
            raise _Refused(401, "This is no token of this session, or the session has ended.")
        if door not in ("call", "mcp"):
            raise _Refused(404, "There is nothing here: POST to call or mcp.")
        if scope["method"] != "POST":  # no stream of the server's own is offered, and no session to delete
            raise _Refused(405, "Use POST.")
        desk.heard.set()
        return desk, door


def _token(headers: list[tuple[bytes, bytes]]) -> bytes:
    scheme, _, token = dict(headers).get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


async def _body(receive: Receive, desk: Desk) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MESSAGE_BYTES:
            desk.violate(f"a message of more than {MESSAGE_BYTES >> 20} MiB")
            raise _Refused(413, f"A request may have {MESSAGE_BYTES >> 20} MiB.")
        more = message.get("more_body", False)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what hands over a body that has been read already."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return parts.pop() if parts else await receive()

    return again


async def _call(desk: Desk, body: bytes) -> CallOutcome:
    try:
        asked = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _Refused(400, f'Send {{"name": …, "arguments": …}} as JSON: {error}') from None
    return await desk.call(asked.name, asked.arguments)


async def _respond(send: Send, status: int, outcome: CallOutcome) -> None:
    answer: Mapping[str, Any] = (
        {"result": outcome.result} if outcome.error is None else {"error": outcome.error}
    )
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _encoder.encode(answer)})
