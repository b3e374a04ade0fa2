"""`offline/student`: a small rule-based chat model that works with tools.

It picks a tool by the words it shares with what the user says (`picking`), fills the arguments by the
tool's schema (`values`) and tells the user what came of it (`replies`). What its prompt advises goes before
its own opinion (`prompts.advice_for`). It sees nothing but the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from crm_assets.llm.messages import ChatReply, FunctionCall
from crm_assets.offline_models.picking import pick_tool
from crm_assets.offline_models.prompts import Advice, advice_for
from crm_assets.offline_models.replies import tell
from crm_assets.offline_models.requests import OfflineRequest
from crm_assets.offline_models.tools import KnownTool, Toolbox, toolbox
from crm_assets.offline_models.values import fill_arguments

__all__ = ["student_answer"]

_OUTCOME = "Outcome of the tool: "
_TOOL_LINE = re.compile(r'^\{"name":.*"parameters":.*\}$', re.MULTILINE)
_LABEL = r"\b(?:client|contact|opportunity|quote|contract|company) (?P<name>[A-Z][^,;:?\"]{1,80}?) \(%s\)"
_UNSURE = "I am not sure what to do with that; which record do you mean, and what should happen to it?"


def student_answer(request: OfflineRequest) -> tuple[ChatReply, int]:
    """The model's reply, and the tokens of the tools that it was given."""
    tools = toolbox(request.tools)
    known = tools if request.tools else _tools_in_text(request.system)
    last = request.messages[-1] if request.messages else None
    outcome = _outcome(request)
    if outcome is not None:
        return ChatReply(_told(request, outcome)), tools.tokens
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
    """Tools that are written into the prompt, one JSON object a line."""
    return toolbox([orjson.loads(line) for line in _TOOL_LINE.findall(system)])


def _is_users(role: str, content: str | None) -> bool:
    return role == "user" and not (content or "").startswith(_OUTCOME)


def _call(
    tools: Toolbox, request: OfflineRequest, advice: Advice
) -> tuple[KnownTool, dict[str, Any]] | None:
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
    """The last resort of a model that must call one."""
    return tools.tools[0] if request.tool_choice == "required" and tools.tools else None


def _results(request: OfflineRequest) -> list[dict[str, Any]]:
    """What tools returned so far, the latest first."""
    found = []
    for message in reversed(request.messages):
        text = message.content or ""
        if message.role == "tool":
            found.append(_object(text))
        elif message.role == "user" and text.startswith(_OUTCOME):
            found.append(_object(text.removeprefix(_OUTCOME).partition("\n")[0]))
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {"result": document}


def _rows(request: OfflineRequest) -> list[Mapping[str, Any]]:
    """The records that results held so far, the latest first."""
    rows: list[Mapping[str, Any]] = []
    for document in _results(request):
        result = document.get("result", document)
        listed = result if isinstance(result, list) else [result]
        rows += [row for row in listed if isinstance(row, Mapping)]
    return rows


def _outcome(request: OfflineRequest) -> dict[str, Any] | None:
    """What the tool that was called last returned, where the user has not spoken since."""
    last = request.messages[-1] if request.messages else None
    if last is None or not (last.role == "tool" or (last.content or "").startswith(_OUTCOME)):
        return None
    return _results(request)[0]


def _told(request: OfflineRequest, outcome: Mapping[str, Any]) -> str:
    if outcome.get("error"):
        return f"That did not work: {outcome['error']}"
    name, arguments = _last_call(request)
    return tell(name, arguments, outcome.get("result", outcome), _namer(request))


def _last_call(request: OfflineRequest) -> tuple[str, Mapping[str, Any]]:
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
    """Finds the name of a record in what tools returned, else in what the user called it."""

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


def _own_id(row: Mapping[str, Any]) -> str | None:
    """The ID of a record: the first field that is one."""
    return next((str(value) for name, value in row.items() if name.endswith("_id")), None)


def _talk(request: OfflineRequest) -> str:
    """Without tools to call: a plan where one is asked for, else a sentence."""
    if "plan" not in request.last_user.lower():
        return "I can only help with what the tools of the CRM can do."
    return (
        "1. Read which record the user means and what should happen to it.\n"
        "2. Choose the tool whose name says just that.\n"
        "3. Pass on the identifiers, amounts and dates as the user gave them, and nothing else.\n"
        "4. Tell the user what the tool returned, or why it refused."
    )
