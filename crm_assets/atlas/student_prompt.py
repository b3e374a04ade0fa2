"""The student's system prompt and tools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache

import orjson

from crm_assets.atlas.choices import CallsPerTurn
from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.tool_schemas import say_bounds
from crm_assets.crm import ENTITIES, TOOLS
from crm_assets.llm import FunctionTool

__all__ = [
    "function_tools",
    "plan_question",
    "prompt_sha256",
    "system_prompt",
    "text_outcomes",
    "without_blocks",
]

_CALL_FORM = """\
To call a tool, answer with one JSON object and nothing else:
{"tool": "<its name>", "arguments": {…}}
%s To answer without a tool, answer in plain text. The tools, one a line, with the JSON Schema of their \
arguments:"""
_HOW_MANY = {
    "one": "One tool a turn.",
    "many": "For several tools, write one such object a line; you can call more when you have results.",
}

_BLOCK = re.compile(r"\n*^>>> (?!End )(.+?) >>>$.*?^>>> End \1 >>>$", re.DOTALL | re.MULTILINE)


@cache
def function_tools() -> tuple[FunctionTool, ...]:
    """Return all CRM tools in the form for a model."""
    return tuple(
        FunctionTool(tool.name, tool.description, say_bounds(tool.json_schema())) for tool in TOOLS.values()
    )


def system_prompt(
    agent: AgentConfig, *, pamphlet: str | None = None, plan: str | None = None, guidance: str | None = None
) -> str:
    """Return the student's system prompt.

    Args:
        agent: its text, and whether the tools must be written into it.
        pamphlet: the playbook block.
        plan: the plan of this session, reviewed by the teacher.
        guidance: the teacher's guidance on the attempt before.
    """
    parts: list[str | None] = [agent.system_prompt, _schema_in_brief()]
    if agent.tool_mode == "text":
        parts.append(_tools_in_text(agent.calls_per_turn))
    # What differs between sessions comes last: what is the same in all is read from the prompt cache.
    parts += [pamphlet, _block("Reviewed Plan", plan), _block("Teacher Guidance", guidance)]
    return "\n\n".join(part for part in parts if part)


def prompt_sha256(agent: AgentConfig) -> str:
    """Return the hex SHA-256 of the part of the prompt that all sessions share."""
    return hashlib.sha256(system_prompt(agent).encode()).hexdigest()


def plan_question(opening: str) -> str:
    """Return the question for a plan of a conversation that opens with `opening`."""
    return (
        f"A conversation opens like this:\n\n{opening}\n\n"
        "You cannot call tools yet. Write a short plan, at most five steps, of how you will work on this "
        "conversation: which tools you expect to need, and what you will check before you call them. "
        f"The tools will be: {', '.join(TOOLS)}."
    )


def text_outcomes(documents: Sequence[Mapping[str, object]], *, may_call: bool) -> str:
    """Return the message with the outcomes of calls, one a line, for a model without tools."""
    lines = [f"Outcome of the tool: {orjson.dumps(document).decode()}" for document in documents]
    next_step = "Call another tool, or tell the user" if may_call else "Tell the user"
    return "\n".join((*lines, "", f"{next_step}, in plain text."))


@cache
def _schema_in_brief() -> str:
    """Return a line for each entity with its fields."""
    lines = ["The CRM's entities and their fields:"]
    for entity in ENTITIES.values():
        fields = ", ".join(_field(name, rule.schema()) for name, rule in entity.fields.items())
        lines.append(f"{entity.name}: {fields}")
    return "\n".join(lines)


def _field(name: str, schema: Mapping[str, object]) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list):
        return f"{name} ({'|'.join(choices)})"
    kind = schema.get("format", schema["type"])
    return name if kind == "string" else f"{name} ({kind})"


@cache
def _tools_in_text(calls_per_turn: CallsPerTurn) -> str:
    lines = [orjson.dumps(tool.document["function"]).decode() for tool in function_tools()]
    return "\n".join((_CALL_FORM % _HOW_MANY[calls_per_turn], *lines))


def without_blocks(prompt: str) -> str:
    """Return a system prompt without the blocks that sessions fill in: playbook, plan, guidance."""
    return _BLOCK.sub("", prompt)


def _block(name: str, text: str | None) -> str | None:
    """Return `text` between markers, which it cannot contain; None without text."""
    if not text:
        return None
    return f">>> {name} >>>\n{text.replace('>>>', '>>')}\n>>> End {name} >>>"
