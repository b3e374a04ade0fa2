"""The offline student's replies: one plain sentence about the tool's result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from crm_assets.offline_models.intent import tool_action
from crm_assets.offline_models.requests import Document
from crm_assets.offline_models.text import PLURALS

__all__ = ["describe"]

_IN_WORDS: Mapping[str, tuple[str, ...]] = {
    "opportunity": ("stage", "amount", "probability"),
    "contract": ("status", "value"),
    "quote": ("amount", "status"),
}
NameOf = Callable[[str], "str | None"]
"""Returns the name of the record with an ID; None if the chat does not show it."""


def describe(tool: str, arguments: Document, result: object, name_of: NameOf) -> str:
    """Return a sentence about the result of a call.

    Args:
        tool: name of the tool.
        arguments: its arguments.
        result: its result.
        name_of: finds the names of records that the chat has shown.
    """
    action, entity = tool_action(tool), _entity(tool)
    if isinstance(result, list):
        return _listing(action, entity, result)
    if not isinstance(result, Mapping):
        return _gone(action, entity, arguments, name_of)
    if action == "totals" and "quotes" in result:
        return f"{_compared(result['quotes'])}; total {_money(result['total_amount'])}."
    if action == "summarize" and "by_stage" in result:
        return _summary(result)
    return _changed(action, entity, arguments, result) or _created(entity, result, name_of)


def _listing(action: str | None, entity: str, result: list[Document]) -> str:
    if action == "prefixes":
        return f"Quote prefixes in use: {', '.join(map(str, result))}." if result else "There are none."
    return f"{_compared(result)}." if action == "compare" else _found(entity, result)


def _compared(quotes: Sequence[Document]) -> str:
    return "; ".join(_detail("quote", row) for row in quotes)


def _entity(tool: str) -> str:
    return next((name for name, plural in PLURALS.items() if name in tool or plural in tool), "record")


def _changed(action: str | None, entity: str, arguments: Document, row: Document) -> str | None:
    """Return the sentence for every action but creating; None for that."""
    about = str(row.get("entity_type") or "").lower()
    sentences: Mapping[str, Callable[[], str]] = {
        "view": lambda: f"{_detail(entity, row)}.",
        "modify": lambda: f"Updated {entity} {_name(row)}: {_changes(entity, arguments)}.",
        "cancel": lambda: f"Canceled {entity} {_name(row)}.",
        "clone": lambda: f"Created {_detail(entity, row)}.",
        "note": lambda: f"Added the note to the {about}: {_bare(row['content'])}.",
        "upload": lambda: f"Attached {row['file_name']} to the {about}.",
    }
    sentence = sentences.get(action or "")
    return sentence() if sentence else None


def _created(entity: str, row: Document, name_of: NameOf) -> str:
    name = _name(row)
    client = name_of(str(row.get("client_id")))
    of_client = f" of {client}" if client else ""
    for_client = f" for {client}" if client else ""
    if entity == "client":
        return f"Created client {name} ({row['status']}), email {row['email']}."
    if entity == "contact":
        return f"Added {name} as a contact{of_client}."
    if entity == "opportunity":
        return f"Created opportunity {name}{for_client}: {_fields(entity, row)}."
    if entity == "contract":
        return f"Created a contract{for_client}, {_fields(entity, row)}."
    return f"Created {entity} {name}: {_fields(entity, row)}."


def _gone(action: str | None, entity: str, arguments: Document, name_of: NameOf) -> str:
    if action != "delete":
        return "Done."
    name = name_of(str(next(iter(arguments.values()), "")))
    return f"Deleted {entity} {name}." if name else f"Deleted the {entity}."


def _found(entity: str, rows: Sequence[Document]) -> str:
    plural = PLURALS.get(entity, f"{entity}s")
    if not rows:
        return f"No {plural} match that."
    noun = entity if len(rows) == 1 else plural
    return f"Found {len(rows)} {noun}: {'; '.join(_listed(entity, row) for row in rows)}."


def _listed(entity: str, row: Document) -> str:
    if entity == "contract":
        worth = f" worth {_money(row['value'])}" if row.get("value") is not None else ""
        return f"a contract{worth} ({row['status']})"
    kind = row.get("stage") or row.get("status") or row.get("type")
    facts = [str(kind)] if kind else []
    if row.get("amount") is not None:
        facts.append(_money(row["amount"]))
    return f"{_name(row)} ({', '.join(facts)})" if facts else _name(row)


def _detail(entity: str, row: Document) -> str:
    return f"{_name(row)}: {_fields(entity, row)}"


def _fields(entity: str, row: Document) -> str:
    names = [name for name in _IN_WORDS.get(entity, ()) if row.get(name) is not None]
    if entity == "quote":
        return ", ".join(_shown(name, row[name]) for name in names)
    return ", ".join(f"{name} {_shown(name, row[name])}" for name in names)


def _summary(result: Document) -> str:
    count = result["total_count"]
    noun = "opportunity" if count == 1 else "opportunities"
    stages = _joined(f"{number} in {stage}" for stage, number in sorted(result["by_stage"].items()))
    return f"{count} {noun} worth {_money(result['total_amount'])}" + (f": {stages}." if stages else ".")


def _changes(entity: str, arguments: Document) -> str:
    flat = {**arguments, **(arguments.get("updates") or {})}
    return _joined(
        f"{name.replace('_', ' ')} {_shown(name, value)}"
        for name, value in flat.items()
        if name not in (f"{entity}_id", "updates")
    )


def _joined(parts: Iterable[str]) -> str:
    listed = list(parts)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def _name(row: Document) -> str:
    person = " ".join(str(row[part]) for part in ("first_name", "last_name") if row.get(part))
    return str(row.get("name") or person)


def _shown(name: str, value: object) -> str:
    if name in ("amount", "value") and isinstance(value, (int, float)):
        return _money(value)
    return f"{value}%" if name == "probability" else _bare(value)


def _bare(value: object) -> str:
    return re.sub(r"\.$", "", str(value))


def _money(value: float) -> str:
    return f"${value:,.0f}" if float(value).is_integer() else f"${value:,.2f}"
