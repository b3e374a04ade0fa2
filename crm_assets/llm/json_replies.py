"""Asks models for JSON objects of a given form."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from crm_assets.llm.interface import Answer, Caller, MalformedReply, Models, ReplyCheck
from crm_assets.llm.messages import ChatReply, ChatRequest, Message
from crm_assets.llm.reading import parse_object

__all__ = ["COMPLAINT", "ask", "complaint_message", "json_check"]

COMPLAINT = "Your reply cannot be used: "
"""Begins the message that answers a reply which cannot be used."""

_Model = TypeVar("_Model", bound=BaseModel)


class _Reader(Generic[_Model]):
    """Reads replies of one form; a reply that was checked is not read a second time."""

    def __init__(self, model: type[_Model]) -> None:
        self._model = model
        self._last: tuple[str | None, _Model] | None = None

    def read(self, reply: ChatReply) -> _Model:
        """Return the object in a reply.

        Raises:
            ValueError: it has another form; one sentence says what is wrong.
        """
        if self._last is None or self._last[0] != reply.content:
            self._last = reply.content, _read(self._model, reply)
        return self._last[1]

    def check(self, reply: ChatReply) -> str | None:
        """Return what is wrong with a reply; None for nothing."""
        try:
            self.read(reply)
        except ValueError as error:
            return str(error)
        return None


def json_check(model: type[BaseModel]) -> ReplyCheck:
    """Return a check that a reply is one JSON object of the form of `model`."""
    return _Reader(model).check


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
    request = dataclasses.replace(request, json_object=True, json_schema=_schema(model))
    reader = _Reader(model)
    answer = await models.complete(caller, request, check=reader.check)
    try:
        return reader.read(answer.reply), answer
    except ValueError as error:
        raise MalformedReply(str(error), reply=answer.reply, spending=answer.spending) from None


def complaint_message(complaint: str) -> Message:
    """Return the message that answers a reply which cannot be used."""
    return Message(
        "user", f"{COMPLAINT}{complaint} Answer again, with the one JSON object and nothing else."
    )


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _read(model: type[_Model], reply: ChatReply) -> _Model:
    try:
        return model.model_validate(parse_object(reply.content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].rstrip(".")
        raise ValueError(f"The reply's {where}: {reason}." if where else f"The reply: {reason}.") from None
