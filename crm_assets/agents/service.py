"""Agents of type `http`: a service that is sent each turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from crm_assets.agents.desk import Desk
from crm_assets.agents.endpoint import Endpoint
from crm_assets.agents.links import MESSAGE_BYTES, LinkEnd
from crm_assets.agents.messages import Begin, Call, Failed, Reply, ToAgent, Turn
from crm_assets.agents.turns import TurnDocument, encode_turn, read_reply
from crm_assets.errors import ConfigError

__all__ = ["ServiceHost"]

_CONNECT_SECONDS = 10.0
_RETRY_SECONDS = 0.2
_SHOWN_BODY = 200
_OK = 200
_JSON = {"Content-Type": "application/json"}


class ServiceHost:
    """Sends turns to a service (see `AgentHost`)."""

    def __init__(self, url: str) -> None:
        """Prepare; nothing is opened yet."""
        self.url = url
        self._endpoint = Endpoint()
        self._client: aiohttp.ClientSession | None = None
        self._tools: tuple[Sequence[Mapping[str, Any]], msgspec.Raw] = ((), msgspec.Raw(b"[]"))

    async def open(self) -> ServiceAgent:
        """Return a link for a new conversation."""
        if self._client is None:
            connections = aiohttp.TCPConnector(limit=0)
            self._client = aiohttp.ClientSession(
                connector=connections, timeout=aiohttp.ClientTimeout(total=None)
            )
        return ServiceAgent(self, self._client, self._endpoint, self._endpoint.open())

    async def aclose(self) -> None:
        """Close the connections, and the endpoint."""
        if self._client is not None:
            await self._client.close()
        await self._endpoint.aclose()

    def encoded(self, tools: Sequence[Mapping[str, Any]]) -> msgspec.Raw:
        """Return the tools as JSON; they are the same in all turns."""
        if self._tools[0] != tools:
            self._tools = tools, msgspec.Raw(msgspec.json.encode(tools))
        return self._tools[1]


class ServiceAgent:
    """A service in one conversation (see `AgentLink`)."""

    def __init__(
        self, host: ServiceHost, client: aiohttp.ClientSession, endpoint: Endpoint, desk: Desk
    ) -> None:
        self._host = host
        self._client = client
        self._endpoint = endpoint
        self._desk = desk
        self._asking: asyncio.Task[None] | None = None

    @property
    def output(self) -> str:
        """Return nothing: what a service writes is its own."""
        return ""

    def send(self, message: ToAgent) -> None:
        """Send a message."""
        if isinstance(message, Begin):
            self._desk.begin(message)
        elif isinstance(message, Turn):
            self._desk.start_turn(message.number)
            self._asking = asyncio.create_task(self._ask(self._document(message)))
        else:
            self._desk.answer(message)

    def _document(self, turn: Turn) -> TurnDocument:
        desk = self._desk
        return TurnDocument(
            desk.id,
            turn.number,
            turn.user,
            desk.instructions,
            self._host.encoded(desk.tools),
            self._endpoint.call_url(desk),
            self._endpoint.mcp_url(desk),
            desk.token,
        )

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message."""
        return await self._desk.receive()

    async def end(self, *, patiently: bool) -> LinkEnd:
        """Leave the conversation; a turn under way is broken off."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking
        return LinkEnd(failure=self._desk.close())

    async def _ask(self, turn: TurnDocument) -> None:
        give_up = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                self._desk.reply(await self._post(turn))
            except aiohttp.ClientConnectorError as error:
                if time.monotonic() < give_up:  # it may be about to start, or to start again
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                self._desk.fail(ConfigError(f"Nothing answers at {self._host.url}: {error.strerror}."))
            except aiohttp.ClientError as error:
                self._desk.fail(f"its service broke off ({type(error).__name__}: {error})")
            except ValueError as error:
                self._desk.fail(str(error))
            return

    async def _post(self, turn: TurnDocument) -> Reply:
        async with self._client.post(self._host.url, data=encode_turn(turn), headers=_JSON) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > MESSAGE_BYTES:
                    raise ValueError(f"a message of more than {MESSAGE_BYTES >> 20} MiB")
        data = self._desk.hide_bytes(bytes(body))
        if response.status != _OK:
            said = data[:_SHOWN_BODY].decode(errors="replace").strip()
            raise ValueError(f"its service answered {response.status}: {said}")
        return read_reply(data, turn.turn)
