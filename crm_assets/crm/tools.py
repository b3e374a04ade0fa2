"""The 28 CRM tools: names, typed arguments, descriptions.

A tool is defined once, here. Validation, the JSON Schema that a model is given, the documentation and
the comparison of calls all follow from its argument model; its effect on the database is its operation
(`crm.operations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, create_model

from crm_assets.crm.entities import (
    CLIENT,
    COMPANY,
    CONTACT,
    CONTRACT,
    DOCUMENT,
    NOTE,
    OPPORTUNITY,
    QUOTE,
    Entity,
)
from crm_assets.crm.errors import ToolError
from crm_assets.crm.fields import Identifier, IdList, Rule, shown
from crm_assets.crm.tool import Criterion, Tool, ToolAction, ToolArguments

__all__ = ["TOOLS", "find_tool", "tool_names"]

_Argument = tuple[Any, Any]
"""A field of an argument model: its annotation and its default, as Pydantic's `create_model` takes them."""


def _required(rule: Rule) -> _Argument:
    return (Annotated[Any, rule], Field())


def _optional(rule: Rule, default: Any = None) -> _Argument:
    return (Annotated[Any, rule], Field(default=default))


def _criterion(rule: Rule) -> _Argument:
    # The last entry checks the value; the rule itself is for the schema.
    return (Annotated[Any, rule, Criterion(rule)], Field(default=None))


def _model(name: str, fields: Mapping[str, _Argument]) -> type[ToolArguments]:
    title = "".join(part.capitalize() for part in name.split("_")) + "Arguments"
    return create_model(title, __base__=ToolArguments, **dict(fields))  # type: ignore[call-overload, no-any-return]


def _tool(
    name: str,
    description: str,
    entity: Entity,
    action: ToolAction,
    fields: Mapping[str, _Argument],
    *,
    aliases: Mapping[str, str] | None = None,
    same_as: str | None = None,
) -> Tool:
    return Tool(
        name=name,
        description=description,
        entity=entity,
        action=action,
        arguments=_model(name, fields),
        aliases=MappingProxyType(dict(aliases or {})),
        same_as=same_as or name,
    )


def _pointing(entity: Entity) -> Rule:
    """Return the rule for the ID of an entity that must exist."""
    rule = entity.fields[entity.id_field]
    return Identifier(rule.label, rule.description, entity.name)


def _create(
    name: str,
    description: str,
    entity: Entity,
    required: tuple[str, ...],
    *,
    without: tuple[str, ...] = (),
    aliases: Mapping[str, str] | None = None,
) -> Tool:
    fields = {field: _required(entity.fields[field]) for field in required}
    for field, rule in entity.fields.items():
        if field not in fields and field not in without:
            fields[field] = _optional(rule)
    return _tool(name, description, entity, ToolAction.CREATE, fields, aliases=aliases)


def _modify(name: str, entity: Entity) -> Tool:
    fields = {entity.id_field: _required(_pointing(entity))}
    for field, rule in entity.fields.items():
        if field != entity.id_field:
            fields[field] = _optional(rule)
    fields["cleared"] = (tuple[str, ...], ())
    lower = entity.name.lower()
    description = f"Change fields of a {lower}."
    return _tool(name, description, entity, ToolAction.MODIFY, fields)


def _by_id(name: str, description: str, entity: Entity, action: ToolAction, same_as: str = "") -> Tool:
    fields = {entity.id_field: _required(_pointing(entity))}
    return _tool(name, description, entity, action, fields, same_as=same_as or name)


def _search(name: str, entity: Entity) -> Tool:
    fields = {field: _criterion(rule) for field, rule in entity.fields.items()}
    description = (
        f"List the {entity.table} that match every given field: text by a part of it whatever the case, "
        "all else exactly. Without fields: all of them."
    )
    return _tool(name, description, entity, ToolAction.SEARCH, fields)


def _compare(name: str, description: str, action: ToolAction) -> Tool:
    ids = IdList("Quote IDs", "IDs of the quotes, in the order to show them.", "Quote")
    return _tool(name, description, QUOTE, action, {"quote_ids": _required(ids)})


_OPPORTUNITY_CRITERIA = {field: _criterion(rule) for field, rule in OPPORTUNITY.fields.items()}

_ALL = (
    _create("create_new_client", "Create a client.", CLIENT, ("name", "email", "status")),
    _create(
        "create_new_contact",
        "Create a contact of a client.",
        CONTACT,
        ("first_name", "last_name", "client_id"),
    ),
    _create(
        "create_new_opportunity",
        "Create an opportunity for a client.",
        OPPORTUNITY,
        ("name", "client_id", "amount", "stage"),
        without=("created_at",),
    ),
    _create(
        "create_quote",
        "Create a quote for an opportunity; without a name it is called after the opportunity.",
        QUOTE,
        ("opportunity_id", "amount", "status"),
        without=("created_date",),
    ),
    _create(
        "create_contract",
        "Create a contract with a client; its status is Pending unless given.",
        CONTRACT,
        ("client_id",),
    ),
    _create(
        "upload_document",
        "Attach a document to an opportunity, contract, quote or client.",
        DOCUMENT,
        ("entity_type", "entity_id", "file_name"),
        aliases={"document_url": "file_url"},
    ),
    _create(
        "add_note",
        "Add a note to an opportunity, client, contact, quote or contract.",
        NOTE,
        ("entity_type", "entity_id", "content"),
    ),
    _modify("modify_client", CLIENT),
    _modify("modify_contact", CONTACT),
    _modify("modify_opportunity", OPPORTUNITY),
    _modify("modify_quote", QUOTE),
    _by_id("clone_opportunity", "Copy an opportunity.", OPPORTUNITY, ToolAction.CLONE),
    _by_id("cancel_quote", "Set a quote's status to Canceled.", QUOTE, ToolAction.CANCEL),
    _by_id("delete_opportunity", "Delete an opportunity.", OPPORTUNITY, ToolAction.DELETE),
    _by_id("delete_quote", "Delete a quote.", QUOTE, ToolAction.DELETE),
    _by_id("view_opportunity_details", "Show an opportunity.", OPPORTUNITY, ToolAction.VIEW),
    _by_id(
        "opportunity_details",
        "Show an opportunity (the same as view_opportunity_details).",
        OPPORTUNITY,
        ToolAction.VIEW,
        same_as="view_opportunity_details",
    ),
    _by_id("quote_details", "Show a quote.", QUOTE, ToolAction.VIEW),
    _compare("compare_quotes", "Show several quotes side by side.", ToolAction.COMPARE),
    _compare(
        "compare_quote_details",
        "Show several quotes with their amounts, statuses and total.",
        ToolAction.COMPARE_DETAILS,
    ),
    _search("client_search", CLIENT),
    _search("contact_search", CONTACT),
    _search("opportunity_search", OPPORTUNITY),
    _search("quote_search", QUOTE),
    _search("contract_search", CONTRACT),
    _search("company_search", COMPANY),
    _tool(
        "summarize_opportunities",
        "Count and total the opportunities that match every given field, by stage and by owner.",
        OPPORTUNITY,
        ToolAction.SUMMARIZE,
        _OPPORTUNITY_CRITERIA,
    ),
    _tool("quote_prefixes", "List the quote prefixes in use.", QUOTE, ToolAction.PREFIXES, {}),
)

TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ALL})
"""All tools by name, in the order of the documentation."""


def tool_names() -> frozenset[str]:
    """Return the names of all tools."""
    return frozenset(TOOLS)


def find_tool(name: str) -> Tool:
    """Return the tool called `name`.

    Raises:
        ToolError: no tool has that name.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise ToolError("unknown_tool", f"There is no tool named '{shown(name)}'.")
    return tool
