"""Questions to the offline models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crm_assets.crm import TOOLS
from crm_assets.llm import ChatReply, FunctionCall, FunctionTool, Message
from crm_assets.offline_models import OfflineRequest, answer

CLIENT = "11111111-1111-4111-8111-111111111111"
DEAL = "33333333-3333-4333-8333-333333333333"
QUOTE = "44444444-4444-4444-8444-444444444444"
OTHER = "55555555-5555-4555-8555-555555555555"

CRM_TOOLS = tuple(
    FunctionTool(tool.name, tool.description, tool.json_schema()).document for tool in TOOLS.values()
)


def playbook(*lines: str) -> str:
    return "\n".join((">>> Student Playbook >>>", *lines, ">>> End Student Playbook >>>"))


def guidance(text: str) -> str:
    return f">>> Teacher Guidance >>>\n{text}\n>>> End Teacher Guidance >>>"


def ask_student(utterance: str, *, system: str = "Work.", before: tuple[Message, ...] = ()) -> ChatReply:
    messages = (Message("system", system), *before, Message("user", utterance))
    return answer("offline/student", OfflineRequest(messages, CRM_TOOLS))


def call_for(utterance: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """The student's call: the tool's name and the arguments."""
    reply = ask_student(utterance, **more)
    assert reply.tool_calls, reply.content
    return reply.tool_calls[0].name, json.loads(reply.tool_calls[0].arguments)


def turn_of(tool: str, arguments: Mapping[str, Any], result: Any) -> tuple[Message, ...]:
    """A call and its result, as they stand in a chat."""
    call = FunctionCall("c", tool, json.dumps(arguments))
    return (
        Message("assistant", None, (call,)),
        Message("tool", json.dumps({"result": result}), tool_call_id="c"),
    )


def reply_about(
    tool: str, arguments: Mapping[str, Any], result: Any, *, said: str = "Do it.", before: Any = ()
) -> str | None:
    """What the student tells the user of a result."""
    messages = (Message("system", "Work."), *before, Message("user", said))
    messages += turn_of(tool, arguments, result)
    return answer("student", OfflineRequest(messages, CRM_TOOLS, "none")).content


def ask_about(model: str, role: str, document: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The JSON that a model answers about a document in its prompt."""
    keys = more.pop("keys", "Answer with one JSON object.")
    user = f"```json\n{json.dumps(document, indent=2)}\n```\n\n{keys}"
    messages = (Message("system", f"You are the {role} of a CRM assistant."), Message("user", user))
    reply = answer(model, OfflineRequest(messages, **more))
    assert reply.content is not None
    said: dict[str, Any] = json.loads(reply.content)
    return said
