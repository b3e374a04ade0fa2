"""`{{turn_N.field}}`: references to the results of earlier turns.

A text that consists of one reference becomes the field's value (a number stays a number); a reference
inside a longer text becomes text. Filled-in values are not searched for further references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from re import Match
from typing import Any, NamedTuple

import orjson

from crm_assets.conversations.conversation import JsonObject
from crm_assets.conversations.patterns import PLACEHOLDER, REFERENCE, strings_in
from crm_assets.errors import InputError

__all__ = [
    "Reference",
    "ReferenceUnresolved",
    "find_placeholders",
    "find_references",
    "resolve",
    "turn_output",
]

Outputs = Mapping[int, Mapping[str, Any]]
"""Fields of the results of turns, by turn number."""


class Reference(NamedTuple):
    """A field of an earlier turn's result."""

    turn: int
    field: str

    def __str__(self) -> str:
        """Return the form that datasets use."""
        return f"{{{{turn_{self.turn}.{self.field}}}}}"


class ReferenceUnresolved(InputError):
    """A reference without a value.

    Attributes:
        turn: the turn it names.
        field: the field it names.
        reason: the cause, as the rest of a sentence.
    """

    def __init__(self, reference: Reference, reason: str) -> None:
        super().__init__(f"{reference} cannot be filled: {reason}.")
        self.turn = reference.turn
        self.field = reference.field
        self.reason = reason


def find_references(value: Any) -> list[Reference]:
    """Return every reference in a JSON value's texts, in document order, with repeats."""
    return [
        Reference(int(turn), field)
        for text in strings_in(value)
        if "{{" in text
        for turn, field in REFERENCE.findall(text)
    ]


def find_placeholders(text: str) -> list[str]:
    """Return the placeholders that no turn can fill, such as `{{opportunity_name}}` and `{stage}`."""
    if "{" not in text:
        return []
    return [found for found in PLACEHOLDER.findall(text) if not REFERENCE.fullmatch(found)]


def resolve(value: Any, outputs: Outputs, *, strict: bool = True) -> Any:
    """Return a copy of `value` with its references filled from `outputs`.

    Args:
        value: any JSON value; dicts and lists are searched, dict keys are not.
        outputs: the `turn_output` of every turn that ran and succeeded, by turn number.
        strict: raise for a reference that cannot be filled; if False, leave its text.

    Raises:
        ReferenceUnresolved: a reference cannot be filled (strict only).
    """
    if isinstance(value, str):
        return _resolve_text(value, outputs, strict) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: resolve(item, outputs, strict=strict) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, outputs, strict=strict) for item in value]
    return value


def turn_output(result: object) -> JsonObject:
    """Return the fields of a tool's result that later turns can refer to.

    A dict's own fields, those of a list's first item (none if it is empty), and `value` for any other
    result.
    """
    if isinstance(result, (list, tuple)):
        return turn_output(result[0]) if result else {}
    if isinstance(result, Mapping):
        return dict(result)
    return {"value": result}


def _resolve_text(text: str, outputs: Outputs, strict: bool) -> Any:
    whole = REFERENCE.fullmatch(text)
    if whole:
        return _lookup(whole, outputs, strict)
    return REFERENCE.sub(_filler(outputs, strict), text)


def _filler(outputs: Outputs, strict: bool) -> Callable[[Match[str]], str]:
    return lambda match: _as_text(_lookup(match, outputs, strict))


def _lookup(match: Match[str], outputs: Outputs, strict: bool) -> Any:
    reference = Reference(int(match[1]), match[2])
    output = outputs.get(reference.turn)
    if output is not None and reference.field in output:
        return output[reference.field]
    if not strict:
        return match[0]
    if output is None:
        raise ReferenceUnresolved(reference, f"turn {reference.turn} failed or has not run")
    known = ", ".join(sorted(output)) or "nothing"
    raise ReferenceUnresolved(
        reference,
        f"turn {reference.turn} has no field '{reference.field}' (its result holds {known})",
    )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # people write 75000, not 75000.0
    if value is None or isinstance(value, (bool, Mapping, list, tuple)):
        return orjson.dumps(value, default=str).decode()
    return str(value)
