"""`offline/student`: a small rule-based chat model that works with tools.

It picks the tool that shares most words with the user's (`picking`), fills the arguments by the tool's
schema (`values`) and describes the result to the user (`replies`). Advice in its prompt takes precedence
(`prompts.advice_for`). It sees only the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson

from crm_assets.llm.messages import ChatReply, FunctionCall
from crm_assets.offline_models.picking import pick_tool
from crm_assets.offline_models.prompts import Advice, advice_for
from crm_assets.offline_models.replies import describe
from crm_assets.offline_models.requests import Document, OfflineRequest
from crm_assets.offline_models.tools import KnownTool, Toolbox, toolbox
from crm_assets.offline_models.values import fill_arguments

__all__ = ["student_answer"]

_OUTCOME = "Outcome of the tool: "
_TOOL_LINE = re.compile(r'^\{"name":.*"parameters":.*\}$', re.MULTILINE)
_LABEL = r"\b(?:client|contact|opportunity|quote|contract|company) (?P<name>[A-Z][^,;:?\"]{1,80}?) \(%s\)"
_UNSURE = "I am not sure what to do with that; which record do you mean, and what should happen to it?"


def student_answer(request: OfflineRequest) -> tuple[ChatReply, int]:
    """Return the model's reply, and the tokens of its tools."""
    tools = toolbox(request.tools)
    known = tools if request.tools else _tools_in_text(request.system)
    last = request.messages[-1] if request.messages else None
    outcome = _outcome(request)
    if outcome is not None:
        return ChatReply(_reply(request, outcome)), tools.tokens
    if last is None or last.role != "user" or request.tool_choice == "none" or not known.tools:
        return ChatReply(_talk(request)), tools.tokens
    turn = sum(_is_users(message.role, message.content) for message in request.messages)
    picked = _call(known, request, advice_for(request.system, request.last_user, turn))
    if picked is None:
        return ChatReply(_UNSURE), tools.tokens
    tool, arguments = picked
    if not request.tools:
        call = {"tool": tool.name, "arguments": arguments}
        return ChatReply(orjson.dumps(call).decode()), tools.tokens
    made = FunctionCall(f"call_{turn}", tool.name, orjson.dumps(arguments).decode())
    return ChatReply(None, (made,), finish_reason="tool_calls"), tools.tokens


def _tools_in_text(system: str) -> Toolbox:
    """Return the tools that are written into the prompt, one JSON object per line."""
    return toolbox([orjson.loads(line) for line in _TOOL_LINE.findall(system)])


def _is_users(role: str, content: str | None) -> bool:
    return role == "user" and not (content or "").startswith(_OUTCOME)


def _call(tools: Toolbox, request: OfflineRequest, advice: Advice) -> tuple[KnownTool, Document] | None:
    utterance = request.last_user
    named = next((tools.by_name[name] for name in advice.tools if name in tools.by_name), None)
    tool = named or (pick_tool(tools, advice.wants) if advice.wants else None)
    tool = tool or pick_tool(tools, utterance) or _any_tool(tools, request)
    if tool is None:
        return None
    arguments = fill_arguments(
        tool,
        utterance,
        earlier=_rows(request),
        placements=advice.placements,
        lacking=advice.lacking,
    )
    return tool, arguments


def _any_tool(tools: Toolbox, request: OfflineRequest) -> KnownTool | None:
    """Return the first tool if the model must call one, else None."""
    return tools.tools[0] if request.tool_choice == "required" and tools.tools else None


def _results(request: OfflineRequest) -> list[Document]:
    """Return the results of tools so far, the latest first."""
    found = []
    for message in reversed(request.messages):
        text = message.content or ""
        if message.role == "tool":
            found.append(_object(text))
        elif message.role == "user" and text.startswith(_OUTCOME):
            found.append(_object(text.removeprefix(_OUTCOME).partition("\n")[0]))
    return found


def _object(text: str) -> Document:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {"result": document}


def _rows(request: OfflineRequest) -> list[Document]:
    """Return the records in results so far, the latest first."""
    rows: list[Document] = []
    for document in _results(request):
        result = document.get("result", document)
        listed = result if isinstance(result, list) else [result]
        rows += [row for row in listed if isinstance(row, Mapping)]
    return rows


def _outcome(request: OfflineRequest) -> Document | None:
    """Return the result of the last call if it is the last message, else None."""
    last = request.messages[-1] if request.messages else None
    if last is None or not (last.role == "tool" or (last.content or "").startswith(_OUTCOME)):
        return None
    return _results(request)[0]


def _reply(request: OfflineRequest, outcome: Document) -> str:
    if outcome.get("error"):
        return f"That did not work: {outcome['error']}"
    name, arguments = _last_call(request)
    return describe(name, arguments, outcome.get("result", outcome), _namer(request))


def _last_call(request: OfflineRequest) -> tuple[str, Document]:
    for message in reversed(request.messages):
        if message.role != "assistant":
            continue
        if message.tool_calls:
            call = message.tool_calls[0]
            return call.name, _object(call.arguments)
        document = _object(message.content or "")
        if "tool" in document:
            return str(document["tool"]), document.get("arguments") or {}
    return "", {}


def _namer(request: OfflineRequest) -> Callable[[str], str | None]:
    """Return a function that finds a record's name in results, else in the user's words."""

    def name_of(identifier: str) -> str | None:
        for row in _rows(request):
            if row.get("name") and identifier == _own_id(row):
                return str(row["name"])
        label = re.compile(_LABEL % re.escape(identifier))
        for message in reversed(request.messages):
            match = label.search(message.content or "") if message.role == "user" else None
            if match:
                return match["name"]
        return None

    return name_of


def _own_id(row: Document) -> str | None:
    """Return a record's ID: its first field that is one."""
    return next((str(value) for name, value in row.items() if name.endswith("_id")), None)


def _talk(request: OfflineRequest) -> str:
    """Return the reply without tools to call: a plan if asked for one, else a sentence."""
    if "plan" not in request.last_user.lower():
        return "I can only help with what the tools of the CRM can do."
    return (
        "1. Read which record the user means and what should happen to it.\n"
        "2. Choose the tool whose name says just that.\n"
        "3. Pass on the identifiers, amounts and dates as the user gave them, and nothing else.\n"
        "4. Tell the user what the tool returned, or why it refused."
    )
