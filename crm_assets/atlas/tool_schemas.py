"""Writes the bounds and formats of a tool's arguments into their descriptions, too.

Not every provider shows its model all of a JSON Schema: on the way to Gemini, litellm 1.110 leaves out
exclusiveMinimum, const, formats and enums of numbers. All students are to be given the same tool.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

__all__ = ["say_bounds"]

_WORDS: Mapping[str, str] = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} of its fields",
    "multipleOf": "a multiple of {}",
    "pattern": "matching {}",
    "format": "format {}",
    "const": "always {}",
}


def say_bounds(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON Schema with what its keywords demand added to the descriptions."""
    said: dict[str, object] = {name: _inner(value) for name, value in schema.items()}
    notes = [words.format(_value(schema[name])) for name, words in _WORDS.items() if name in schema]
    choices = schema.get("enum")
    if isinstance(choices, list) and not all(isinstance(choice, str) for choice in choices):
        notes.append(f"one of {', '.join(map(_value, choices))}")
    if notes:
        text = "; ".join(notes)
        before = schema.get("description")
        said["description"] = f"{before} ({text})" if before else f"{text[0].upper()}{text[1:]}"
    return said


def _inner(value: object) -> object:
    if isinstance(value, list):
        return [say_bounds(part) if isinstance(part, Mapping) else part for part in value]
    if not isinstance(value, Mapping):
        return value
    if _is_schema(value):
        return say_bounds(value)
    return {name: say_bounds(part) if isinstance(part, Mapping) else part for name, part in value.items()}


def _is_schema(value: Mapping[str, object]) -> bool:
    """Tell a schema from a mapping of names to schemas, such as `properties`."""
    kind = value.get("type")
    return isinstance(kind, (str, list)) or any(
        name in value for name in ("$ref", "anyOf", "enum", "const")
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
