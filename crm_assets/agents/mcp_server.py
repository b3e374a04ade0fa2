"""The sandbox's tools as an MCP server, by the official SDK. Importing it takes a second."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

import crm_assets
from crm_assets.agents.desk import Desk
from crm_assets.agents.links import MESSAGE_BYTES

__all__ = ["INSTRUCTIONS", "session_manager"]

INSTRUCTIONS = "crm://instructions"
"""Resource with the system prompt and what was learned from earlier conversations."""

_encoder = msgspec.json.Encoder()


def session_manager() -> StreamableHTTPSessionManager:
    """Return what answers MCP requests whose scope names their desk as `crm_desk`.

    It keeps nothing between requests: a session's state is all in its desk.
    """
    return StreamableHTTPSessionManager(
        _make_server(), json_response=True, stateless=True, max_request_body_size=2 * MESSAGE_BYTES
    )


def _make_server() -> Server[dict[str, Any]]:
    """Return a server of the tools and the instructions of the desk that a request names."""
    return Server(
        "crm",
        version=crm_assets.__version__,
        get_tool_input_schema=_no_headers,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
    )


def _no_headers(tool: str) -> None:
    """Say that no argument travels in a header; else the SDK lists all tools at each call to see."""


def _desk(context: ServerRequestContext[Any, Any]) -> Desk:
    assert context.request is not None  # each comes over HTTP
    desk: Desk = context.request.scope["crm_desk"]
    return desk


async def _list_tools(
    context: ServerRequestContext[Any, Any], _: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[*_tools(_encoder.encode(_desk(context).tools))])


@cache
def _tools(documents: bytes) -> tuple[types.Tool, ...]:
    functions = [document["function"] for document in msgspec.json.decode(documents)]
    return tuple(
        types.Tool(
            name=function["name"], description=function["description"], input_schema=function["parameters"]
        )
        for function in functions
    )


async def _call_tool(
    context: ServerRequestContext[Any, Any], call: types.CallToolRequestParams
) -> types.CallToolResult:
    outcome = await _desk(context).call(call.name, call.arguments or {})
    failed = outcome.error is not None
    text = outcome.error if outcome.error is not None else _encoder.encode(outcome.result).decode()
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=failed)


async def _list_resources(
    context: ServerRequestContext[Any, Any], _: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    instructions = types.Resource(
        uri=INSTRUCTIONS,
        name="instructions",
        description="The system prompt, and what was learned from earlier conversations.",
        mime_type="text/plain",
    )
    return types.ListResourcesResult(resources=[instructions])


async def _read_resource(
    context: ServerRequestContext[Any, Any], asked: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    if asked.uri != INSTRUCTIONS:
        raise MCPError(types.INVALID_PARAMS, f"There is no resource {asked.uri}; there is {INSTRUCTIONS}.")
    text = types.TextResourceContents(
        uri=INSTRUCTIONS, mime_type="text/plain", text=_desk(context).instructions
    )
    return types.ReadResourceResult(contents=[text])
