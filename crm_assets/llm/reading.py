"""Reads the texts of models' replies: thoughts, JSON objects, tool calls. Nothing else takes them apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

__all__ = [
    "DEEPEST",
    "LARGEST_INTEGER",
    "TextCall",
    "calls_in_text",
    "object_arguments",
    "parse_object",
    "plain_arguments",
    "without_thoughts",
]

DEEPEST = 64
"""Maximum nesting of JSON from models and agents: far less than results can hold."""
LARGEST_INTEGER = 2**63 - 1
"""Maximum of an integer in results, by amount."""
_LONGEST_DIGITS = len(str(LARGEST_INTEGER))

_OPENING = r"<(?:think|thinking|thought)>"
_CLOSING = re.compile(r"</(?:think|thinking|thought)>")
_THOUGHTS = re.compile(rf"\A\s*{_OPENING}.*?</(?:think|thinking|thought)>", re.DOTALL)
_OPENED = re.compile(_OPENING)
_TOKEN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_TAGGED_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
# Postgres' JSON can hold neither, and a model writes them only by mistake.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class TextCall(NamedTuple):
    """A tool call that stands in a reply's text."""

    name: str
    arguments: Any
    """As written: an object, or whatever stands in its place."""


def without_thoughts(text: str) -> str:
    """Return the text behind the thoughts that it begins with.

    Many chat templates write the opening tag into the prompt, so a closing tag alone ends thoughts, too.
    """
    shorter = _THOUGHTS.sub("", text)
    if shorter != text:
        return shorter.lstrip()
    closing = _CLOSING.search(text)
    if closing is None or _OPENED.search(text, 0, closing.start()):
        return text
    return text[closing.end() :].lstrip()


def plain_arguments(text: str) -> str:
    """Return a call's arguments as JSON of an object, where they are that object's JSON as a JSON text."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = orjson.loads(text)
        if isinstance(inner, str) and isinstance(orjson.loads(inner), dict):
            return inner
    except orjson.JSONDecodeError:
        pass
    return text


def object_arguments(arguments: object) -> object:
    """Return a call's arguments as an object if they are one, or its JSON text, encoded once or twice.

    A blank text means no arguments; anything else stays as it was written.
    """
    value = arguments
    for _ in range(2):
        if isinstance(value, str):
            try:
                value = orjson.loads(value) if value.strip() else {}
            except orjson.JSONDecodeError:
                return arguments
    return value if isinstance(value, dict) else arguments


def calls_in_text(text: str | None) -> tuple[TextCall, ...]:
    """Return the tool calls that a text is made of, in `<tool_call>` tags or as JSON; none in mere prose.

    A call is an object with the tool's name under `tool`, `name` or `function`, and its arguments under
    `arguments` or `parameters`.
    """
    text = without_thoughts(text or "")
    tagged = [match.group(1) for match in _TAGGED_CALL.finditer(text)]
    try:
        found = [_call(value) for part in tagged or [text] for value in _values(part)]
    except ValueError:
        return ()
    return tuple(call for call in found if call is not None) if all(found) else ()


def _values(text: str) -> Iterator[Any]:
    for start, end in _outermost(text):
        value = _value(text[start:end])
        if value is not None:
            yield from value if isinstance(value, list) else (value,)


def _call(value: object) -> TextCall | None:
    if not isinstance(value, Mapping):
        return None
    function = value.get("function")
    if isinstance(function, Mapping):
        value, function = function, None
    name = value.get("tool", value.get("name", function))
    arguments = value.get("arguments", value.get("parameters", {} if "tool" in value else None))
    if not isinstance(name, str) or arguments is None:
        return None
    if isinstance(arguments, str):
        try:
            arguments = parse_object(arguments) if arguments.strip() else {}
        except ValueError:
            return TextCall(name, arguments)
    return TextCall(name, _storable(arguments))


def parse_object(text: str | None) -> dict[str, Any]:
    """Return the one JSON object in a reply.

    Code fences, prose around it, thoughts before it and raw line ends in its texts are forgiven. NUL
    characters and lone surrogates become U+FFFD, since no database takes them.

    Raises:
        ValueError: there is none, or more than one, or something else; one sentence says which.
    """
    if text is None or not text.strip():
        raise ValueError("The reply is empty.")
    text = without_thoughts(text)
    objects = []
    for start, end in _outermost(text):
        value = _value(text[start:end])
        if isinstance(value, list):
            raise ValueError("The reply holds a JSON list instead of an object.")
        if value is not None:
            objects.append(value)
    if not objects:
        raise ValueError("The reply holds no JSON object that can be read.")
    if len(objects) > 1:
        raise ValueError("The reply holds more than one JSON object.")
    cleaned: dict[str, Any] = _storable(objects[0])
    return cleaned


def _outermost(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the bracketed values that are in no other one.

    What is inside an unclosed one is never mistaken for the whole: a reply that was cut off is an error.
    """
    closers: list[str] = []
    start = 0
    quoted = False
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark == '"':
            quoted = bool(closers) and not quoted  # outside of values quotes are only prose
        elif quoted or mark.startswith("\\"):
            continue
        elif mark in "{[":
            if not closers:
                start = token.start()
            closers.append("}" if mark == "{" else "]")
            if len(closers) > DEEPEST:
                raise ValueError(f"The reply's JSON is nested more than {DEEPEST} deep.")
        elif closers and mark == closers[-1]:
            closers.pop()
            if not closers:
                yield start, token.end()
    if closers:
        raise ValueError("The reply's JSON is cut off.")


def _value(text: str) -> dict[str, Any] | list[Any] | None:
    """The JSON value that `text` is; None where it is only prose in brackets."""
    try:
        value = json.loads(
            text, strict=False, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
    except json.JSONDecodeError:
        return None
    assert isinstance(value, (dict, list))
    # "[1]" and "[]" in prose are no reply; a list of objects is one of the wrong form.
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return None
    return value


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_DIGITS + 1 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError("The reply holds a number that is too large.")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("The reply holds a number that is too large.")
    return number


def _constant(name: str) -> float:
    raise ValueError(f"The reply holds {name}, which is no JSON.")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("�", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
