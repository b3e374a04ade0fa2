"""A session's MCP server over standard input and output: `python -m crm_assets.agents.stdio`.

For frameworks that start their MCP servers as programs. It passes everything on to the session's address,
which it takes with the token from MCP_URL and MCP_TOKEN.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import httpx2
from mcp import types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

__all__ = ["main"]

Context = ServerRequestContext[Any, Any]


def main() -> int:
    """Serve until standard input ends; return the exit code."""
    try:
        url, token = os.environ["MCP_URL"], os.environ["MCP_TOKEN"]
    except KeyError as missing:
        sys.stderr.write(f"{missing.args[0]} is not set: start this with the agent's environment.\n")
        return 2
    anyio.run(_serve, url, token)
    return 0


async def _serve(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with (  # the harness limits the time of a turn
        httpx2.AsyncClient(headers=headers, timeout=None, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as crm,
        stdio_server() as (reading, writing),
    ):
        server = _relay(crm)
        await server.run(reading, writing, server.create_initialization_options())


def _relay(crm: Client) -> Server[dict[str, Any]]:
    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return await crm.list_tools()

    async def call_tool(_: Context, call: types.CallToolRequestParams) -> types.CallToolResult:
        return await crm.call_tool(call.name, call.arguments)

    async def resources(_: Context, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return await crm.list_resources()

    async def read(_: Context, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await crm.read_resource(asked.uri)

    return Server(
        "crm",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=resources,
        on_read_resource=read,
    )


if __name__ == "__main__":
    sys.exit(main())
