"""Turns that look for records."""

from __future__ import annotations

from typing import Any

from crm_assets.generator.conversation_builder import Scene, join_words, money
from crm_assets.generator.rows import Row

__all__ = [
    "arguments",
    "client_search",
    "company_search",
    "contact_search",
    "contract_search",
    "opportunity_search",
    "quote_search",
]

# The sets of fields that people search by; a parent's ID is written as the field that holds it.
_BY: dict[str, tuple[tuple[str, ...], ...]] = {
    "Client": (("name",), ("name",), ("email",), ("name", "status"), ("industry",), ("status", "industry")),
    "Contact": (("last_name",), ("first_name", "last_name"), ("email",), ("client_id",), ("title",)),
    "Opportunity": (("name",), ("name",), ("stage",), ("client_id",), ("client_id", "stage"), ("owner",)),
    "Quote": (("opportunity_id",), ("status",), ("quote_prefix",), ("opportunity_id", "status"), ("name",)),
    "Contract": (("client_id",), ("status",), ("opportunity_id",), ()),
    "Company": (("name",), ("type",), ("industry",), ("type", "industry"), ()),
}
_PLURALS = {"Company": "companies", "Opportunity": "opportunities"}
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


def client_search(scene: Scene) -> None:
    """Look for clients."""
    _search(scene, "Client")


def contact_search(scene: Scene) -> None:
    """Look for contacts."""
    _search(scene, "Contact")


def opportunity_search(scene: Scene) -> None:
    """Look for opportunities."""
    _search(scene, "Opportunity")


def quote_search(scene: Scene) -> None:
    """Look for quotes."""
    _search(scene, "Quote")


def contract_search(scene: Scene) -> None:
    """Look for contracts."""
    _search(scene, "Contract")


def company_search(scene: Scene) -> None:
    """Look for partners, vendors and competitors."""
    _search(scene, "Company")


def arguments(scene: Scene, criteria: dict[str, Any], wrapper: str = "criteria") -> dict[str, Any]:
    """`criteria` as arguments of their own, or wrapped in one: the two mean the same."""
    return {wrapper: criteria} if scene.chance(0.5) else criteria


def _search(scene: Scene, entity: str) -> None:
    target = scene.pick(entity)
    singular = entity.lower()
    plural = _PLURALS.get(entity, f"{singular}s")
    wanted = _criteria(scene, entity, target)
    criteria = {
        name: scene.point(value) if isinstance(value, Row) else value for name, value in wanted.items()
    }
    if not criteria:
        utterance = scene.phrase(_ALL, plural=plural, singular=singular)
    elif tuple(criteria) == ("name",) and entity in _NAMED:
        utterance = scene.phrase(_NAMED[entity], name=criteria["name"])
    else:
        clauses = join_words([_clause(name, value) for name, value in criteria.items()])
        utterance = scene.phrase(_BY_CLAUSES, plural=plural, singular=singular, clauses=clauses)
    found = scene.world.find(entity, wanted)
    only = found[0] if len(found) == 1 else None
    scene.play(
        f"{singular}_search",
        arguments(scene, criteria),
        utterance,
        reply=_reply(found, singular, plural),
        # With several results, which is first is the database's business, not the user's.
        gives=only,
    )


def _criteria(scene: Scene, entity: str, target: Row | None) -> dict[str, Any]:
    """What is searched for; parents as rows."""
    if target is None:
        if entity == "Company":
            return {"name": scene.world.client_name()}
        return {}
    chosen = scene.rng.choice(_BY[entity])
    values: dict[str, Any] = {}
    for name in chosen:
        value: Any = target.fields.get(name)
        if name == "client_id":
            value = target.client
        elif name == "opportunity_id":
            value = target.opportunity
        elif name == "name" and entity in ("Client", "Company") and scene.chance(0.3):
            value = target.name.split()[0]
        if value is not None:
            values[name] = value
    return values or _fallback(entity, target)


def _fallback(entity: str, target: Row) -> dict[str, Any]:
    # A record may lack the field (a quote made without a prefix): search by what it certainly has.
    name = {"Contact": "last_name", "Contract": "status"}.get(entity, "name")
    return {name: target.fields[name]} if entity != "Contract" or "status" in target.fields else {}


def _clause(name: str, value: Any) -> str:
    if name in ("client_id", "opportunity_id"):
        return f"{name.replace('_', ' ').removesuffix(' id')} ID {value}"
    if name in ("name", "first_name", "last_name", "title", "email"):
        return f'{name.replace("_", " ")} "{value}"'
    return f"{name.replace('_', ' ')} {value}"


def _reply(found: list[Row], singular: str, plural: str) -> str:
    if not found:
        return f"No {plural} match that."
    told = [_describe(row) for row in found]
    noun = singular if len(found) == 1 else plural
    return f"Found {len(found)} {noun}: {'; '.join(told)}."


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
