"""One CRM tool: its typed arguments, their two spellings, and the JSON Schema that a model is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import CoreSchema, core_schema

from crm_assets.crm.entities import Entity
from crm_assets.crm.errors import ErrorKind, ToolError
from crm_assets.crm.fields import JsonSchema, Rule, UnknownIdError, Values, shown

__all__ = ["Criterion", "Tool", "ToolAction", "ToolArguments"]


class Criterion:
    """Makes a field's rule check a search criterion instead of a value to store."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.rule.criterion)


class ToolAction(Enum):
    """The kind of operation, for any entity."""

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
        """Return True if it can change the database."""
        return self in _WRITING


_WRITING = frozenset(
    {ToolAction.CREATE, ToolAction.MODIFY, ToolAction.CLONE, ToolAction.CANCEL, ToolAction.DELETE}
)

# Tools that also take their fields wrapped in one object, and its name.
_BAGS = {ToolAction.MODIFY: "updates", ToolAction.SEARCH: "criteria", ToolAction.SUMMARIZE: "criteria"}


class ToolArguments(BaseModel):
    """Base of the argument models; undeclared arguments are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self) -> Values:
        """Return the arguments that were given; null counts as not given."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True)
class Tool:
    """One tool of the CRM."""

    name: str
    description: str
    entity: Entity
    action: ToolAction
    arguments: type[ToolArguments]
    aliases: Mapping[str, str]
    """Other names under which an argument is accepted."""
    same_as: str
    """Name of the tool that this one is an alias of; its own name for most tools."""

    @cached_property
    def bag(self) -> str | None:
        """Return the name of the argument that may wrap the fields; None if there is none."""
        return _BAGS.get(self.action)

    @cached_property
    def field_rules(self) -> Mapping[str, Rule]:
        """Return the entity fields that the tool takes, flat or in its `bag`."""
        return self.entity.fields

    @cached_property
    def _fields(self) -> frozenset[str]:
        return frozenset(self.arguments.model_fields)

    @cached_property
    def _known(self) -> frozenset[str | None]:
        """Return the names of arguments that a call may have."""
        return self._fields - {"cleared"} | {*self.aliases, self.bag}

    def canonical(self, arguments: Mapping[str, object]) -> Values:
        """Return `arguments` in one spelling: the bag opened (arguments win), aliases replaced, no nulls.

        Two calls with the same canonical arguments do the same. Nothing is validated: a bag that is not an
        object stays as it is, for `validate` to refuse or a comparison to differ on.
        """
        flat: Values = dict(arguments)
        if self.bag is not None and isinstance(flat.get(self.bag), Mapping):
            inner = flat.pop(self.bag)
            flat = {**inner, **{name: value for name, value in flat.items() if value is not None}}
        for alias, name in self.aliases.items():
            value = flat.pop(alias, None)
            if flat.get(name) is None:
                flat[name] = value
        return {name: value for name, value in flat.items() if value is not None}

    def validate(self, arguments: Mapping[str, object]) -> ToolArguments:
        """Return the typed arguments of a call.

        Raises:
            ToolError: an argument is missing, unknown or wrong; the first of them, in one sentence.
        """
        try:
            return self.arguments.model_validate(self._unpacked(arguments))
        except ValidationError as error:
            raise self._refusal(error) from None

    def _unpacked(self, arguments: Mapping[str, object]) -> Values:
        flat = self.canonical(arguments)
        if self.bag is not None and self.bag in flat:
            raise ToolError("validation", f"Tool '{self.name}' needs '{self.bag}' as an object.")
        bag = arguments.get(self.bag) if self.bag is not None else None
        inner: Mapping[str, object] = bag if isinstance(bag, Mapping) else {}
        if self.action is ToolAction.MODIFY:
            # A null in `updates` clears the field; elsewhere it means "not given".
            cleared = {name for name, value in inner.items() if value is None and name not in flat}
            self._refuse_unknown_fields({**flat, **dict.fromkeys(cleared)})
            if cleared:
                flat["cleared"] = sorted(cleared)
        else:
            self._refuse_unknown_fields(inner)
        # A null means "not given" only for a known argument; an unknown one is refused by name.
        unknown = {name: None for name in arguments if name not in self._known}
        if self.action is ToolAction.MODIFY:
            self._refuse_unknown_fields(unknown)
        flat = {**unknown, **flat}
        # The names of unknown arguments may be of any type; Pydantic takes text only.
        return {name if name in self._fields else shown(name): value for name, value in flat.items()}

    def _refuse_unknown_fields(self, names: Mapping[str, object]) -> None:
        for name in names:
            if name not in self.field_rules:
                raise ToolError("validation", f"{self.entity.name} has no field named '{shown(name)}'.")

    def _refusal(self, error: ValidationError) -> ToolError:
        """Return the first problem, in the order of the arguments' declaration, unknown ones last."""
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

    def json_schema(self) -> JsonSchema:
        """Return the JSON Schema (object) of the arguments, for a model's tool call and for people.

        Fields are listed flat, followed by the bag (`updates`, `criteria`) that may wrap them.
        """
        properties: dict[str, JsonSchema] = {}
        required: list[str] = []
        for name, field in self.arguments.model_fields.items():
            if name == "cleared":
                continue
            properties[name] = _argument_schema(field.metadata, field.description)
            if field.is_required():
                required.append(name)
        if self.bag is not None:
            modifies = self.action is ToolAction.MODIFY
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


def _argument_schema(metadata: Sequence[object], description: str | None) -> JsonSchema:
    rule = next(entry for entry in metadata if isinstance(entry, Rule))
    is_criterion = any(isinstance(entry, Criterion) for entry in metadata)
    schema = rule.criterion_schema() if is_criterion else rule.schema()
    text = description or rule.description
    return {**schema, "description": text} if text else schema
