"""The 28 CRM tools: names, typed arguments, what they are for.

A tool is defined once, here. Validation, the JSON Schema that a model is given, the documentation and
the comparison of calls all follow from its argument model; what it does to the database is its
operation (`crm.operations`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import core_schema

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
from crm_assets.crm.errors import ErrorKind, ToolError
from crm_assets.crm.fields import Identifier, Rule, UnknownIdError, shown

__all__ = ["TOOLS", "Action", "Tool", "ToolArguments", "find_tool", "tool_names"]


class Action(Enum):
    """What a tool does, whatever the entity."""

    CREATE = "create"
    MODIFY = "modify"
    CLONE = "clone"
    CANCEL = "cancel"
    DELETE = "delete"
    VIEW = "view"
    COMPARE = "compare"
    COMPARE_DETAILS = "compare_details"
    SEARCH = "search"
    SUMMARIZE = "summarize"
    PREFIXES = "prefixes"

    @property
    def writes(self) -> bool:
        """Whether it can change the database."""
        return self in _WRITING


_WRITING = frozenset({Action.CREATE, Action.MODIFY, Action.CLONE, Action.CANCEL, Action.DELETE})

# Where a tool takes its fields a second way, in an object of their own.
_BAGS = {Action.MODIFY: "updates", Action.SEARCH: "criteria", Action.SUMMARIZE: "criteria"}


class ToolArguments(BaseModel):
    """Base of the argument models; nothing that is not declared gets in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self) -> dict[str, Any]:
        """The arguments that were given; null counts as not given."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True)
class Tool:
    """One tool of the CRM."""

    name: str
    description: str
    entity: Entity
    action: Action
    arguments: type[ToolArguments]
    aliases: Mapping[str, str]
    """Other names under which an argument is accepted."""
    same_as: str
    """The tool this one is another name of, itself as a rule."""

    @cached_property
    def bag(self) -> str | None:
        """Name of the argument that may hold the fields in an object of their own."""
        return _BAGS.get(self.action)

    @cached_property
    def field_rules(self) -> Mapping[str, Rule]:
        """Entity fields that the tool takes, flat or in its `bag`."""
        return self.entity.fields

    def canonical(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`arguments` in one spelling: the bag opened (arguments win), aliases replaced, no nulls.

        Two calls with the same canonical arguments do the same. Nothing is validated: what is no
        object stays where it is, for `validate` to refuse or a comparison to differ on.
        """
        flat = dict(arguments)
        if self.bag is not None and isinstance(flat.get(self.bag), Mapping):
            inner = flat.pop(self.bag)
            flat = {**inner, **{name: value for name, value in flat.items() if value is not None}}
        for alias, name in self.aliases.items():
            value = flat.pop(alias, None)
            if flat.get(name) is None:
                flat[name] = value
        return {name: value for name, value in flat.items() if value is not None}

    def validate(self, arguments: Mapping[str, Any]) -> ToolArguments:
        """The typed arguments of a call.

        Raises:
            ToolError: an argument is missing, unknown or wrong; the first of them, in one sentence.
        """
        try:
            return self.arguments.model_validate(self._unpacked(arguments))
        except ValidationError as error:
            raise self._refusal(error) from None

    def _unpacked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        flat = self.canonical(arguments)
        if self.bag is not None and self.bag in flat:
            raise ToolError("validation", f"Tool '{self.name}' needs '{self.bag}' as an object.")
        if self.action is Action.MODIFY:
            # A null in `updates` clears the field; elsewhere it means "not given".
            bag = arguments.get("updates")
            cleared = {name for name, value in (bag or {}).items() if value is None and name not in flat}
            self._refuse_unknown_fields({**flat, **dict.fromkeys(cleared)})
            if cleared:
                flat["cleared"] = sorted(cleared)
        elif self.bag is not None and isinstance(inner := arguments.get(self.bag), Mapping):
            self._refuse_unknown_fields(inner)
        # A null is "not given" only for an argument there is; others are named in the refusal.
        known = {*self.arguments.model_fields, *self.aliases, self.bag} - {"cleared"}
        unknown = {name: None for name in arguments if name not in known}
        if self.action is Action.MODIFY:
            self._refuse_unknown_fields(unknown)
        flat = {**unknown, **flat}
        # Names that no tool has may be anything; Pydantic takes text only.
        return {
            name if name in self.arguments.model_fields else shown(name): value
            for name, value in flat.items()
        }

    def _refuse_unknown_fields(self, names: Mapping[str, Any]) -> None:
        for name in names:
            if name not in self.field_rules:
                raise ToolError("validation", f"{self.entity.name} has no field named '{shown(name)}'.")

    def _refusal(self, error: ValidationError) -> ToolError:
        """The first problem, in the order of the arguments' declaration, unknown ones last."""
        first = error.errors(include_url=False)[0]
        argument = shown(first["loc"][0]) if first["loc"] else "?"
        if first["type"] == "missing":
            sentence = f"Tool '{self.name}' needs the argument '{argument}'."
        elif first["type"] == "extra_forbidden":
            sentence = f"Tool '{self.name}' has no argument named '{argument}'."
        elif first["type"] == "value_error":
            cause = first["ctx"]["error"]
            kind: ErrorKind = "not_found" if isinstance(cause, UnknownIdError) else "validation"
            return ToolError(kind, str(cause))
        else:
            sentence = f"Tool '{self.name}' cannot use its argument '{argument}': {first['msg']}."
        return ToolError("validation", sentence)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (object) of the arguments, for a model's tool call and for people.

        Fields are listed flat; the second spelling (`updates`, `criteria`) is listed beside them.
        """
        properties: dict[str, Any] = {}
        required: list[str] = []
        for name, field in self.arguments.model_fields.items():
            if name == "cleared":
                continue
            properties[name] = _argument_schema(field.metadata, field.description)
            if field.is_required():
                required.append(name)
        if self.bag is not None:
            modifies = self.action is Action.MODIFY
            inner = {
                name: rule.schema() if modifies else rule.criterion_schema()
                for name, rule in self.field_rules.items()
                if not (modifies and name == self.entity.id_field)
            }
            purpose = "Fields to change" if modifies else "Fields to match"
            properties[self.bag] = {
                "type": "object",
                "description": f"{purpose}, another way to give them.",
                "properties": inner,
                "additionalProperties": False,
            }
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }


def _argument_schema(metadata: list[Any], description: str | None) -> dict[str, Any]:
    rule = next(entry for entry in metadata if isinstance(entry, Rule))
    searched_for = any(isinstance(entry, _Criterion) for entry in metadata)
    schema = rule.criterion_schema() if searched_for else rule.schema()
    text = description or rule.description
    return {**schema, "description": text} if text else schema


@dataclass(frozen=True)
class IdList(Rule):
    """A list of IDs of existing entities."""

    entity: str = ""

    def parse(self, value: object) -> list[Any]:
        """Every entry is an ID; an entry that is no UUID is not found."""
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.label} must be a list.")
        rule = Identifier(self.label, entity=self.entity)
        return [rule.parse(entry) for entry in value]

    def schema(self) -> dict[str, Any]:
        """An array of UUIDs."""
        return {"type": "array", "items": {"type": "string", "format": "uuid"}}


class _Criterion:
    """Makes a field's rule check a search criterion instead of a value to store."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Any:
        return core_schema.no_info_plain_validator_function(self.rule.criterion)


def _required(rule: Rule) -> tuple[Any, Any]:
    return (Annotated[Any, rule], Field())


def _optional(rule: Rule, default: Any = None) -> tuple[Any, Any]:
    return (Annotated[Any, rule], Field(default=default))


def _criterion(rule: Rule) -> tuple[Any, Any]:
    # The last one is the one that checks; the rule itself is there for the schema.
    return (Annotated[Any, rule, _Criterion(rule)], Field(default=None))


def _model(name: str, fields: Mapping[str, tuple[Any, Any]]) -> type[ToolArguments]:
    title = "".join(part.capitalize() for part in name.split("_")) + "Arguments"
    return create_model(title, __base__=ToolArguments, **dict(fields))  # type: ignore[call-overload, no-any-return]


_Factory = Callable[[str], Mapping[str, tuple[Any, Any]]]


def _tool(
    name: str,
    description: str,
    entity: Entity,
    action: Action,
    fields: Mapping[str, tuple[Any, Any]],
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
    """The rule for the ID of an entity that must exist."""
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
    return _tool(name, description, entity, Action.CREATE, fields, aliases=aliases)


def _modify(name: str, entity: Entity) -> Tool:
    fields = {entity.id_field: _required(_pointing(entity))}
    for field, rule in entity.fields.items():
        if field != entity.id_field:
            fields[field] = _optional(rule)
    fields["cleared"] = (tuple[str, ...], ())
    lower = entity.name.lower()
    description = f"Change fields of a {lower}."
    return _tool(name, description, entity, Action.MODIFY, fields)


def _by_id(name: str, description: str, entity: Entity, action: Action, same_as: str = "") -> Tool:
    fields = {entity.id_field: _required(_pointing(entity))}
    return _tool(name, description, entity, action, fields, same_as=same_as or name)


def _search(name: str, entity: Entity) -> Tool:
    fields = {field: _criterion(rule) for field, rule in entity.fields.items()}
    description = (
        f"List the {entity.table} that match every given field: text by a part of it whatever the case, "
        "all else exactly. Without fields: all of them."
    )
    return _tool(name, description, entity, Action.SEARCH, fields)


def _compare(name: str, description: str, action: Action) -> Tool:
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
    _by_id("clone_opportunity", "Copy an opportunity.", OPPORTUNITY, Action.CLONE),
    _by_id("cancel_quote", "Set a quote's status to Canceled.", QUOTE, Action.CANCEL),
    _by_id("delete_opportunity", "Delete an opportunity.", OPPORTUNITY, Action.DELETE),
    _by_id("delete_quote", "Delete a quote.", QUOTE, Action.DELETE),
    _by_id("view_opportunity_details", "Show an opportunity.", OPPORTUNITY, Action.VIEW),
    _by_id(
        "opportunity_details",
        "Show an opportunity (the same as view_opportunity_details).",
        OPPORTUNITY,
        Action.VIEW,
        same_as="view_opportunity_details",
    ),
    _by_id("quote_details", "Show a quote.", QUOTE, Action.VIEW),
    _compare("compare_quotes", "Show several quotes side by side.", Action.COMPARE),
    _compare(
        "compare_quote_details",
        "Show several quotes with their amounts, statuses and total.",
        Action.COMPARE_DETAILS,
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
        Action.SUMMARIZE,
        _OPPORTUNITY_CRITERIA,
    ),
    _tool("quote_prefixes", "List the quote prefixes in use.", QUOTE, Action.PREFIXES, {}),
)

TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _ALL})
"""All tools by name, in the order of the documentation."""


def tool_names() -> frozenset[str]:
    """Names of all tools."""
    return frozenset(TOOLS)


def find_tool(name: str) -> Tool:
    """The tool called `name`.

    Raises:
        ToolError: there is none.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise ToolError("unknown_tool", f"There is no tool named '{shown(name)}'.")
    return tool
