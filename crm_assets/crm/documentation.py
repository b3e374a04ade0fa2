"""The tools' reference for people, made from the same definitions that a model is given."""

from __future__ import annotations

from collections.abc import Sequence

from crm_assets.crm.entities import SEED_ORDER, Entity
from crm_assets.crm.fields import JsonSchema
from crm_assets.crm.tool import Tool
from crm_assets.crm.tools import TOOLS

__all__ = ["tools_markdown"]

_INTRODUCTION = """\
# CRM entities and tools

Made by `crm-assets tools` from the definitions in `crm_assets/crm`; do not edit.

IDs are UUIDs, made up when the caller gives none. Text is trimmed. A tool that refuses says why in one
sentence and changes nothing.
"""


def tools_markdown() -> str:
    """Return the reference of all entities and tools, as Markdown."""
    parts = [_INTRODUCTION, "## Entities\n"]
    parts += [_entity(entity) for entity in SEED_ORDER]
    parts.append("## Tools\n")
    parts += [_tool(tool) for tool in TOOLS.values()]
    return "\n".join(parts)


def _entity(entity: Entity) -> str:
    rows = [
        (
            name,
            _kind(rule.schema()),
            "yes" if name in (*entity.required, entity.id_field) else "",
            rule.description,
        )
        for name, rule in entity.fields.items()
    ]
    heading = f"### {entity.name} (`{entity.table}`)\n"
    return f"{heading}\n{_table(('field', 'value', 'always there', 'what it is'), rows)}\n"


def _tool(tool: Tool) -> str:
    schema = tool.json_schema()
    rows = [
        (
            name,
            _kind(field),
            "yes" if name in schema["required"] else "",
            str(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    ]
    text = f"### `{tool.name}`\n\n{tool.description}\n"
    for alias, name in tool.aliases.items():
        text += f"`{alias}` is accepted for `{name}`.\n"
    if not rows:
        return text + "\nNo arguments.\n"
    return f"{text}\n{_table(('argument', 'value', 'required', 'what it is'), rows)}\n"


def _kind(schema: JsonSchema) -> str:
    """Return a field's JSON Schema in words."""
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    bounds = [
        f"{words} {schema[key]:,}"
        for key, words in (
            ("exclusiveMinimum", "above"),
            ("minimum", "from"),
            ("maximum", "up to"),
        )
        if key in schema
    ]
    name = {"string": "text", "object": "object of fields"}.get(schema["type"], schema["type"])
    return " ".join([str(schema.get("format", name)), *bounds])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines: list[tuple[str, ...]] = [head, tuple("---" for _ in head)]
    lines += [(f"`{row[0]}`", *row[1:]) for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
