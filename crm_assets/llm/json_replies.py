"""Reads JSON objects out of models' replies; nothing else parses them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from crm_assets.llm.errors import MalformedReply
from crm_assets.llm.interface import Answer, Caller, Models, ReplyCheck
from crm_assets.llm.messages import ChatReply, ChatRequest

__all__ = ["ask", "json_check", "parse_object"]

_Model = TypeVar("_Model", bound=BaseModel)

_DEEPEST = 64
_LARGEST_INTEGER = 2**63 - 1
_LONGEST_DIGITS = len(str(_LARGEST_INTEGER))

_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_TOKEN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
# Postgres' JSON can hold neither, and a model writes them only by mistake.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse_object(text: str | None) -> dict[str, Any]:
    """The one JSON object in a reply.

    Code fences, prose around it, thoughts before it and raw line ends in its texts are forgiven. NUL
    characters and lone surrogates become U+FFFD, since no database takes them.

    Raises:
        ValueError: there is none, or more than one, or something else; one sentence says which.
    """
    if text is None or not text.strip():
        raise ValueError("The reply is empty.")
    text = _THOUGHTS.sub("", text)
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


def json_check(model: type[BaseModel]) -> ReplyCheck:
    """A check that a reply is one JSON object of the form of `model`."""

    def check(reply: ChatReply) -> str | None:
        try:
            _read(model, reply)
        except ValueError as error:
            return str(error)
        return None

    return check


async def ask(
    models: Models, caller: Caller, request: ChatRequest, model: type[_Model]
) -> tuple[_Model, Answer]:
    """Ask for a JSON object of the form of `model`, again while what comes is of another form.

    Args:
        models: who is asked.
        caller: on whose account.
        request: the question; it is sent with `json_object` on.
        model: the form. Its own types say what is coerced and what is refused.

    Raises:
        ModelError: no reply could be had.
        MalformedReply: no reply was of that form.
        BudgetExhausted: the run's budget is spent.
    """
    request = dataclasses.replace(request, json_object=True)
    answer = await models.complete(caller, request, check=json_check(model))
    try:
        return _read(model, answer.reply), answer
    except ValueError as error:
        raise MalformedReply(str(error), reply=answer.reply, spending=answer.spending) from None


def _read(model: type[_Model], reply: ChatReply) -> _Model:
    try:
        return model.model_validate(parse_object(reply.content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].rstrip(".")
        raise ValueError(f"The reply's {where}: {reason}." if where else f"The reply: {reason}.") from None


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
            if len(closers) > _DEEPEST:
                raise ValueError(f"The reply's JSON is nested more than {_DEEPEST} deep.")
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
    if len(digits) > _LONGEST_DIGITS + 1 or abs(int(digits)) > _LARGEST_INTEGER:
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
