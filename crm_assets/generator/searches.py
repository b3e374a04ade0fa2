"""Turns that look for records."""

from __future__ import annotations

from typing import Any

from crm_assets.crm.entities import Entity
from crm_assets.crm.tool import ToolAction
from crm_assets.crm.tools import TOOLS
from crm_assets.generator.conversation_builder import (
    ConversationBuilder,
    TurnTemplate,
    join_words,
    money,
)
from crm_assets.generator.rows import Fields, Row

__all__ = ["SEARCHES"]

# The sets of fields that people search by.
_BY: dict[str, tuple[tuple[str, ...], ...]] = {
    "Client": (("name",), ("name",), ("email",), ("name", "status"), ("industry",), ("status", "industry")),
    "Contact": (("last_name",), ("first_name", "last_name"), ("email",), ("client_id",), ("title",)),
    "Opportunity": (("name",), ("name",), ("stage",), ("client_id",), ("client_id", "stage"), ("owner",)),
    "Quote": (("opportunity_id",), ("status",), ("quote_prefix",), ("opportunity_id", "status"), ("name",)),
    "Contract": (("client_id",), ("status",), ("opportunity_id",), ()),
    "Company": (("name",), ("type",), ("industry",), ("type", "industry"), ()),
}
_NAMED = {
    "Client": (
        'Find client "{name}".',
        'Pull up the client record for "{name}".',
        'Do we have a client called "{name}" in the CRM?',
        'Look up the account "{name}" for me.',
        'Search the clients for "{name}".',
        'I need everything we hold on the client "{name}".',
    ),
    "Opportunity": (
        'Find the opportunity "{name}".',
        'Where do we stand with the deal "{name}"? Search for it by name.',
        'Look for the "{name}" opportunity.',
        'Can you search the pipeline for "{name}"?',
        'Is there an opportunity named "{name}"?',
    ),
    "Quote": (
        'Find the quote named "{name}".',
        'Search the quotes for "{name}".',
        'Which quotes are called "{name}"?',
        'Look for "{name}" among our quotes.',
    ),
    "Company": (
        'Is "{name}" one of the companies we track?',
        'Find the company "{name}".',
        'Look up "{name}" in the company directory.',
        'Search our companies for "{name}".',
    ),
}
_BY_CLAUSES = (
    "Find the {plural} with {clauses}.",
    "Which {plural} have {clauses}?",
    "Show me all {plural} with {clauses}.",
    "List every {singular} with {clauses}.",
    "Search for {plural} with {clauses}.",
    "I need the {plural} that have {clauses}.",
    "Pull the list of {plural} with {clauses}, please.",
)
_ALL = (
    "List all our {plural}.",
    "Show me every {singular} on file.",
    "Which {plural} do we have? All of them, please.",
)


def _search(tool: str, entity: Entity) -> TurnTemplate:
    """Return the template that looks for records of `entity`."""
    singular, plural = entity.name.lower(), entity.table

    def search(builder: ConversationBuilder) -> None:
        target = builder.pick(entity.name)
        wanted = _criteria(builder, entity.name, target)
        criteria = builder.pointed(wanted)
        if not criteria:
            utterance = builder.phrase(_ALL, plural=plural, singular=singular)
        elif tuple(criteria) == ("name",) and entity.name in _NAMED:
            utterance = builder.phrase(_NAMED[entity.name], name=criteria["name"])
        else:
            clauses = join_words([_clause(name, value) for name, value in criteria.items()])
            utterance = builder.phrase(_BY_CLAUSES, plural=plural, singular=singular, clauses=clauses)
        found = builder.state.find(entity.name, wanted)
        # With several results, which one is first is up to the database.
        only = found[0] if len(found) == 1 else None
        args = builder.spelled(tool, criteria)
        builder.play(tool, args, utterance, reply=_reply(found, singular, plural), gives=only)

    return search


SEARCHES = {
    tool.name: _search(tool.name, tool.entity)
    for tool in TOOLS.values()
    if tool.action is ToolAction.SEARCH
}
"""The template of each search tool."""


def _criteria(builder: ConversationBuilder, entity: str, target: Row | None) -> Fields:
    """Return the fields to search by; parents as rows."""
    if target is None:
        return {"name": builder.state.client_name()} if entity == "Company" else {}
    values: Fields = {}
    for name in builder.rng.choice(_BY[entity]):
        value: Any = target.fields.get(name)
        if name == "client_id":
            value = target.client
        elif name == "opportunity_id":
            value = target.opportunity
        elif name == "name" and entity in ("Client", "Company") and builder.chance(0.3):
            value = target.name.split()[0]
        if value is not None:
            values[name] = value
    return values or _fallback(entity, target)


def _fallback(entity: str, target: Row) -> Fields:
    # A record may lack the field (a quote made without a prefix): search by one that it always has.
    name = {"Contact": "last_name", "Contract": "status"}.get(entity, "name")
    return {name: target.fields[name]}


def _clause(name: str, value: Any) -> str:
    if name in ("client_id", "opportunity_id"):
        return f"{name.replace('_', ' ').removesuffix(' id')} ID {value}"
    if name in ("name", "first_name", "last_name", "title", "email"):
        return f'{name.replace("_", " ")} "{value}"'
    return f"{name.replace('_', ' ')} {value}"


def _reply(found: list[Row], singular: str, plural: str) -> str:
    if not found:
        return f"No {plural} match that."
    noun = singular if len(found) == 1 else plural
    return f"Found {len(found)} {noun}: {'; '.join(_describe(row) for row in found)}."


def _describe(row: Row) -> str:
    fields = row.fields
    if row.entity == "Client":
        return f"{row.name} ({fields['status']})"
    if row.entity == "Contact":
        return row.name
    if row.entity == "Opportunity":
        return f"{row.name} ({fields['stage']}, {money(fields['amount'])})"
    if row.entity == "Quote":
        return f"{row.name} ({fields['status']}, {money(fields['amount'])})"
    if row.entity == "Company":
        return f"{row.name} ({fields['type']})"
    worth = f" worth {money(fields['value'])}" if "value" in fields else ""
    return f"a contract{worth} ({fields['status']})"
