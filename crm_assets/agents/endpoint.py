"""The HTTP server of a run on the loopback, on which agents reach the sandboxes of their sessions.

For each session it has two addresses, which its token opens while the session lasts:

    POST /<session>/call    {"name": …, "arguments": {…}} → {"result": …} or {"error": …}
    POST /<session>/mcp     the Model Context Protocol over streamable HTTP
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from crm_assets.agents.desk import Desk
from crm_assets.agents.links import MESSAGE_BYTES
from crm_assets.agents.messages import CallOutcome, decode

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

__all__ = ["HOST", "Endpoint"]

HOST = "127.0.0.1"
_IDLE_SECONDS = 3600.0
_SHUTDOWN_SECONDS = 0.1
"""For requests under way when a run ends; 0 would mean to aiohttp that it waits for ever."""
_JSON = "application/json"


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


class Endpoint:
    """The server; listens from the first session on. Belongs to one event loop."""

    def __init__(self) -> None:
        self._desks: dict[str, Desk] = {}
        self._base: str | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
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
        self._serving = asyncio.create_task(self._serve(self._mcp, listening))

    async def _serve(self, manager: StreamableHTTPSessionManager, listening: socket.socket) -> None:
        # Not uvicorn, though MCP's server is an ASGI application: in an event loop that is not uvloop it
        # sends head and body of each answer apart, and clients wake up twice for it.
        application = web.Application(client_max_size=MESSAGE_BYTES)
        application.router.add_route("*", "/{session}/{door:.*}", self._handle)
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,  # a model may think for minutes between two calls
            lingering_time=1.0,  # for the rest of a body that is too long
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        try:
            async with manager.run():
                await web.SockSite(runner, listening).start()
                await self._stop.wait()
        finally:
            await runner.cleanup()

    async def aclose(self) -> None:
        """Stop serving."""
        for desk in list(self._desks.values()):
            desk.close()
        self._stop.set()
        if self._serving is not None:
            await self._serving

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            desk, door = self._enter(request)
            body = desk.hide_bytes(await _body(request, desk))
            if door == "mcp":
                return await self._by_mcp(request, desk, body)
            status, answer = 200, await _call(desk, body)
        except _Refused as refusal:
            status, answer = refusal.status, CallOutcome(error=str(refusal))
        said = {"result": answer.result} if answer.error is None else {"error": answer.error}
        return web.Response(status=status, body=_encoder.encode(said), content_type=_JSON)

    def _enter(self, request: web.Request) -> tuple[Desk, str]:
        """Return the desk that a request may use, and by which door."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        token = given.strip().encode() if scheme.lower() == "bearer" else b""
        desk = self._desks.get(request.match_info["session"])
        if desk is None or not hmac.compare_digest(token, desk.token.encode()):
            for other in self._desks.values():
                if hmac.compare_digest(token, other.token.encode()):
                    other.violate("it called the endpoint of another session")
            raise _Refused(401, "This is no token of this session, or the session has ended.")
        door = request.match_info["door"]
        if door not in ("call", "mcp"):
            raise _Refused(404, "There is nothing here: POST to call or mcp.")
        if request.method != "POST":  # no stream of the server's own is offered, and no session to delete
            raise _Refused(405, "Use POST.")
        desk.heard.set()
        return desk, door

    async def _by_mcp(self, request: web.Request, desk: Desk, body: bytes) -> web.Response:
        """Let the SDK's server, an ASGI application, answer; it does so in one JSON document."""
        assert self._mcp is not None  # made before the server
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
            "client": None,
            "server": None,
            "crm_desk": desk,
        }
        unread = [{"type": "http.request", "body": body, "more_body": False}]
        answer = web.Response()
        parts: list[bytes] = []

        async def receive() -> Any:
            return unread.pop() if unread else await asyncio.Event().wait()  # it waits for a disconnect

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.set_status(message["status"])
                for name, value in message["headers"]:
                    answer.headers[name.decode()] = value.decode()
            else:
                parts.append(message.get("body", b""))

        await self._mcp.handle_request(scope, receive, send)
        answer.body = b"".join(parts)
        return answer


async def _body(request: web.Request, desk: Desk) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        desk.violate(f"a message of more than {MESSAGE_BYTES >> 20} MiB")
        raise _Refused(413, f"A request may have {MESSAGE_BYTES >> 20} MiB.") from None


async def _call(desk: Desk, body: bytes) -> CallOutcome:
    try:
        asked = decode(_decoder, body)
    except ValueError as error:
        raise _Refused(400, f'Send {{"name": …, "arguments": …}} as JSON: {error}') from None
    return await desk.call(asked.name, asked.arguments)
