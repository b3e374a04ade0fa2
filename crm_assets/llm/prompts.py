"""Share what prompts and replies of all roles have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

__all__ = ["JSON_FENCE", "UnitScore", "cut", "json_block"]

JSON_FENCE = "```json\n"
"""Opening of a prompt's JSON block; it ends with a line of three backticks."""

_LONGEST = 4_000
_ROUNDING = 1e-6


def _unit(value: float) -> float:
    nearest = min(1.0, max(0.0, value))
    if abs(value - nearest) > _ROUNDING:
        raise PydanticCustomError(
            "unit_score", "{value} is not from 0.0 to 1.0, the scale that was asked for", {"value": value}
        )
    return nearest


UnitScore = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, json_schema_extra={"minimum": 0, "maximum": 1}),
    AfterValidator(_unit),
]
"""A number of 0–1 in a model's reply. Another one is refused, as it may be on another scale; only what is
beyond by rounding (up to 1e-6) is 0 or 1."""


def json_block(document: Mapping[str, Any]) -> str:
    """`document` as the JSON block that prompts carry; texts in it cannot end the block."""
    return f"{JSON_FENCE}{orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()}\n```"


def cut(value: Any) -> Any:
    """A JSON value, or the beginning of its text where it is too long to be worth its tokens."""
    text = orjson.dumps(value).decode()
    if len(text) <= _LONGEST:
        return value
    return f"{text[:_LONGEST]}… ({len(text):,} characters)"
