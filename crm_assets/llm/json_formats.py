"""Finds out, once for each way to a model, in which form its server takes the wish for a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from crm_assets.llm.failures import Failure
from crm_assets.llm.messages import ChatRequest
from crm_assets.llm.replies import Completion

__all__ = ["JsonFormats", "ResponseFormat"]

ResponseFormat = Literal["json_schema", "json_object", None]
"""The type of `response_format` that is sent; None: none is, and only the prompt asks for an object."""

_LOWER: Mapping[ResponseFormat, ResponseFormat] = {"json_schema": "json_object", "json_object": None}
_REFUSED = (400, 422, 500, 501)
"""llama-cpp-python answers 500 to a schema that it cannot use."""


@dataclass
class JsonFormats:
    """Features that a server supports, as far as is known."""

    highest: ResponseFormat
    """The most that may be asked of the way there."""
    current: ResponseFormat = field(init=False)
    """The most that the server takes."""
    proven: set[ResponseFormat] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.current = self.highest

    def wanted(self, request: ChatRequest) -> ResponseFormat:
        """Return the form to ask in."""
        if not request.json_object:
            return None
        if self.current == "json_schema" and request.json_schema is None:
            return "json_object"
        return self.current

    def learn(self, wanted: ResponseFormat, completion: Completion) -> Completion:
        """Remember which form the server takes; a refusal of a form is to be asked again in a lower one.

        Args:
            wanted: the form in which a JSON object was asked for.
            completion: what came of it.
        """
        failure = completion.failure
        if failure is None:
            self.proven.add(wanted)
            return completion
        if failure.status not in _REFUSED or failure.kind not in ("rejected", "server_error"):
            return completion
        if wanted is None and None not in self.proven:
            self.current = self.highest  # it was not for the format that the request was refused
        if (
            wanted is None
            or wanted in self.proven
            or (failure.kind, wanted) == ("server_error", "json_object")
        ):
            return completion
        self.current = _LOWER[wanted]
        message = f"{failure.message}; asked again without response_format {wanted}"
        return Completion.refused(Failure("unsupported", message))
