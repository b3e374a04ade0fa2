"""What benchmarks/agents.py runs in processes of their own: agents of each type, and a bare MCP server.

`python -m benchmarks.agent_parts program|light-program|endpoint|service FD|bare-server FD`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

NAME, ARGUMENTS = "client_search", {"name": "Acme"}
THINK = "BENCHMARK_THINK_SECONDS"


def _thought() -> float:
    """Seconds of a turn's thought, spread around their mean: in step, all would want the cores at once."""
    return float(os.environ.get(THINK, "0")) * random.uniform(0.5, 1.5)


class Caller:
    """An agent of type `python`, which makes a call a turn and says what CPU it has used so far."""

    def turn(self, user: str, crm: Any) -> str:
        time.sleep(_thought())
        crm.call(NAME, ARGUMENTS)
        return f"{time.process_time()}"


async def _mcp_program() -> None:
    """The same with the official MCP client."""
    import httpx2
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=None) as http,
        Client(streamable_http_client(os.environ["MCP_URL"], http_client=http)) as crm,
    ):
        for line in sys.stdin:
            json.loads(line)
            await crm.call_tool(NAME, ARGUMENTS)
            print(json.dumps({"reply": f"{time.process_time()}"}), flush=True)


def _light_program() -> None:
    """The same with as little as possible, so that 64 of them fit on a machine."""
    url = urlsplit(os.environ["MCP_URL"])
    assert url.hostname is not None
    connection = HTTPConnection(url.hostname, url.port)
    headers = {
        "Authorization": f"Bearer {os.environ['MCP_TOKEN']}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": NAME, "arguments": ARGUMENTS},
    }
    for line in sys.stdin:
        json.loads(line)
        time.sleep(_thought())
        connection.request("POST", url.path, json.dumps(asked), headers)
        connection.getresponse().read()
        print(json.dumps({"reply": f"{time.process_time()}"}), flush=True)


async def _service(listening: socket.socket) -> None:
    """The same as a service."""
    from aiohttp import ClientSession, web

    client = ClientSession()

    async def take(request: web.Request) -> web.Response:
        turn = await request.json()
        await asyncio.sleep(_thought())
        headers = {"Authorization": f"Bearer {turn['token']}"}
        body = {"name": NAME, "arguments": ARGUMENTS}
        async with client.post(turn["endpoint"], json=body, headers=headers) as answer:
            await answer.read()
        return web.json_response({"reply": f"{time.process_time()}"})

    application = web.Application(client_max_size=1 << 24)
    application.router.add_post("/turn", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    await asyncio.Event().wait()


def _bare_server(listening: socket.socket) -> None:
    """An MCP server of the official SDK, with a tool that returns what it always returns."""
    import uvicorn
    from mcp import types
    from mcp.server.lowlevel import Server

    result = os.environ["BENCHMARK_RESULT"]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=NAME, input_schema={"type": "object"})])

    async def call_tool(_: Any, __: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=result)])

    server = Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listening])


async def _endpoint() -> None:
    """Our endpoint, with a session whose calls are answered at once; prints its address and token."""
    from crm_assets.agents.endpoint import Endpoint
    from crm_assets.agents.messages import Begin, CallOutcome

    endpoint, outcome = Endpoint(), CallOutcome(json.loads(os.environ["BENCHMARK_RESULT"]))
    desk = endpoint.open()
    tool = {"name": NAME, "description": "", "parameters": {"type": "object"}}
    desk.begin(Begin([{"type": "function", "function": tool}], ""))
    desk.start_turn(1)
    print(json.dumps([endpoint.mcp_url(desk), desk.token]), flush=True)
    while True:
        await desk.receive()
        desk.answer(outcome)


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "program":
        asyncio.run(_mcp_program())
    elif kind == "light-program":
        _light_program()
    elif kind == "service":
        asyncio.run(_service(socket.socket(fileno=int(rest[0]))))
    elif kind == "endpoint":
        asyncio.run(_endpoint())
    else:
        _bare_server(socket.socket(fileno=int(rest[0])))
