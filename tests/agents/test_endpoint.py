"""The endpoint of a run: what its addresses answer, and to whom."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import pytest
from mcp import types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from crm_assets.agents.desk import Desk
from crm_assets.agents.endpoint import Endpoint
from crm_assets.agents.links import AgentBroken
from crm_assets.agents.messages import Begin, Call, CallOutcome
from tests.waiting import HANG_SECONDS

TOOL = {"name": "client_search", "description": "Finds clients.", "parameters": {"type": "object"}}
BEGIN = Begin([{"type": "function", "function": TOOL}], "Be kind.")
ASKED = {"name": "client_search", "arguments": {"name": "Acme"}}


class Serving:
    """An endpoint, and desks whose calls are answered with their own arguments."""

    def __init__(self) -> None:
        self.endpoint = Endpoint()
        self._answering: list[asyncio.Task[None]] = []

    def desk(self, *, in_turn: bool = True) -> Desk:
        desk = self.endpoint.open()
        desk.begin(BEGIN)
        if in_turn:
            desk.start_turn(1)
            self._answering.append(asyncio.create_task(self._answer(desk)))
        return desk

    async def _answer(self, desk: Desk) -> None:
        while True:
            call = await desk.receive()
            assert isinstance(call, Call)
            fails = call.name != "client_search"
            desk.answer(CallOutcome(error=f"no {call.name}") if fails else CallOutcome([call.arguments]))

    async def close(self) -> None:
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self.endpoint.aclose()


def serve(check: Callable[[Serving], Awaitable[None]]) -> None:
    async def main() -> None:
        serving = Serving()
        try:
            await check(serving)
        finally:
            await serving.close()

    asyncio.run(main())


async def ask(url: str, token: str | None, body: Any = ASKED, method: str = "POST") -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = {"json": body} if not isinstance(body, bytes) else {"data": body}
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, url, headers=headers, **data) as answer,
    ):
        return answer.status, await answer.json()


def test_a_token_opens_its_own_session_until_that_ends():
    async def check(serving: Serving) -> None:
        one, other = serving.desk(), serving.desk()
        url = serving.endpoint.call_url(one)
        assert await ask(url, one.token) == (200, {"result": [{"name": "Acme"}]})
        no_token = "This is no token of this session, or the session has ended."
        for token in (None, "", other.token):
            assert await ask(url, token) == (401, {"error": no_token})
        assert await ask(serving.endpoint.mcp_url(one), other.token) == (401, {"error": no_token})
        assert one.close() is None
        assert await ask(url, one.token) == (401, {"error": no_token})
        assert other.close() == "it called the endpoint of another session"

    serve(check)


def test_no_call_is_made_between_turns_and_it_is_the_agents_failure():
    async def check(serving: Serving) -> None:
        desk = serving.desk(in_turn=False)
        asked = await ask(serving.endpoint.call_url(desk), desk.token)
        assert asked == (200, {"error": "The turn has ended."})
        with pytest.raises(AgentBroken, match="it called client_search after its turn had ended"):
            await desk.receive()

    serve(check)


def test_a_call_that_waits_as_its_conversation_ends_is_refused():
    async def check(serving: Serving) -> None:
        desk = serving.desk(in_turn=False)
        desk.start_turn(1)
        waiting = asyncio.create_task(ask(serving.endpoint.call_url(desk), desk.token))
        assert isinstance(await desk.receive(), Call)
        desk.close()
        assert await waiting == (200, {"error": "The conversation has ended."})

    serve(check)


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "said"),
    [
        ("call", "POST", b"{half", 400, 'Send {"name": …, "arguments": …} as JSON: '),
        ("call", "POST", b'{"name": "a", "arguments": ' + b"[" * 100_000, 400, "JSON is nested too deeply"),
        ("call", "POST", {"name": 7}, 400, "Expected `str`, got `int` - at `$.name`"),
        ("call", "POST", {"arguments": {}}, 400, "missing required field `name`"),
        ("call", "POST", b"x" * (2 << 20), 413, "A request may have 1 MiB."),
        ("call", "GET", b"", 405, "Use POST."),
        ("mcp", "DELETE", b"", 405, "Use POST."),
        ("", "POST", ASKED, 404, "There is nothing here"),
    ],
)
def test_a_request_that_cannot_be_used_is_told_why(
    path: str, method: str, body: Any, status: int, said: str
):
    async def check(serving: Serving) -> None:
        desk = serving.desk(in_turn=False)
        url = serving.endpoint.call_url(desk).removesuffix("call") + path
        found, answer = await ask(url, desk.token, body, method)
        assert (found, said in answer["error"]) == (status, True), answer

    serve(check)


async def use(client: Client, *, error: str) -> None:
    async with client as crm:
        (tool,) = (await crm.list_tools()).tools
        assert (tool.name, tool.description) == ("client_search", "Finds clients.")
        assert tool.input_schema == {"type": "object"}
        done = await crm.call_tool("client_search", {"name": "Acme"})
        assert [part.text for part in done.content if isinstance(part, types.TextContent)] == [
            '[{"name":"Acme"}]'
        ]
        refused = await crm.call_tool("client_fly", {})
        assert refused.is_error and refused.content[0].text == error  # type: ignore[union-attr]
        (resource,) = (await crm.list_resources()).resources
        read = await crm.read_resource(resource.uri)
        assert read.contents[0].text == "Be kind."  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_mcp_clients_of_both_protocols_find_tools_and_instructions(mode: str):
    async def check(serving: Serving) -> None:
        desk = serving.desk()
        headers = {"Authorization": f"Bearer {desk.token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(serving.endpoint.mcp_url(desk), http_client=http)
            await use(Client(transport, mode=mode), error="no client_fly")

    serve(check)


def test_mcp_over_standard_input_and_output_reaches_the_same_session():
    async def check(serving: Serving) -> None:
        desk = serving.desk()
        variables = {"MCP_URL": serving.endpoint.mcp_url(desk), "MCP_TOKEN": desk.token}
        program = StdioServerParameters(
            command=sys.executable,
            args=["-m", "crm_assets.agents.stdio"],
            env={**os.environ, **variables},
        )
        await use(Client(program), error="no client_fly")

    serve(check)


def test_a_request_that_never_ends_does_not_keep_a_run_from_ending() -> None:
    async def main() -> None:
        endpoint = Endpoint()
        desk = endpoint.open()
        address = urlsplit(endpoint.call_url(desk))
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"POST {address.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {desk.token}\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        await desk.heard.wait()  # it is being answered
        await asyncio.wait_for(endpoint.aclose(), HANG_SECONDS)
        writer.close()

    asyncio.run(main())
