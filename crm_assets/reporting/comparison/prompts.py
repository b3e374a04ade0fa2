"""What the roles of two runs were told differently: system prompts and tools."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from crm_assets.atlas.student_prompt import without_blocks
from crm_assets.llm import ROLES, Role
from crm_assets.llm.request_lines import read_prompts
from crm_assets.reporting.comparison.models import PromptChange
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["compare_prompts"]


def compare_prompts(a: BaselinePaths, b: BaselinePaths) -> tuple[PromptChange, ...]:
    """Return the system prompts and tools that differ, of roles that both runs asked.

    What sessions filled in themselves (playbook, plan, guidance) is left out: it differs anyway.
    Runs that recorded no requests have nothing to compare.

    Raises:
        InputError: recorded requests cannot be read.
    """
    if not (a.requests.is_file() and b.requests.is_file()):
        return ()
    (prompts_a, tools_a), (prompts_b, tools_b) = _told(a), _told(b)
    found: list[PromptChange] = []
    for role in ROLES:
        if role in prompts_a and role in prompts_b:
            found += _prompts(role, list(prompts_a[role]), list(prompts_b[role]))
        if role in tools_a and role in tools_b:
            found += _tools(role, tools_a[role], tools_b[role])
    return tuple(found)


def _told(
    paths: BaselinePaths,
) -> tuple[dict[Role, dict[str, None]], dict[Role, dict[str, Mapping[str, Any]]]]:
    """Return the system prompts of each role, and its tools by name."""
    prompts, tools = read_prompts(paths.requests)
    texts: dict[Role, dict[str, None]] = {}
    for prompt in prompts:
        texts.setdefault(prompt.role, {})[without_blocks(prompt.content)] = None
    named: dict[Role, dict[str, Mapping[str, Any]]] = {}
    for tool in tools:
        function = tool.document["function"]
        named.setdefault(tool.role, {})[function["name"]] = function
    return texts, named


def _prompts(role: Role, a: list[str], b: list[str]) -> Iterator[PromptChange]:
    """Yield the prompts that one run alone has, each with the one that it is most like in the other."""
    gone, new = [text for text in a if text not in b], [text for text in b if text not in a]
    if not (gone and new):
        return  # a part that one of them never played, as that of an arbiter
    for text in new:
        before = max(gone, key=lambda each: difflib.SequenceMatcher(None, each, text).quick_ratio())
        yield PromptChange(role=role, what="system prompt", difference=_difference(before, text))


def _tools(
    role: Role, a: Mapping[str, Mapping[str, Any]], b: Mapping[str, Mapping[str, Any]]
) -> Iterator[PromptChange]:
    for name in dict.fromkeys((*a, *b)):
        before, after = (_readable(tools.get(name)) for tools in (a, b))
        if before != after:
            yield PromptChange(role=role, what=f"tool {name}", difference=_difference(before, after))


def _readable(tool: Mapping[str, Any] | None) -> str:
    if tool is None:
        return ""
    return orjson.dumps(tool, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def _difference(before: str, after: str) -> str:
    """Return a unified diff without its header, with one line around each change."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return "\n".join([*lines][2:])
