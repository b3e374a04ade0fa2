"""What prompts and the replies to them have in common, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field

__all__ = ["JSON_FENCE", "UnitScore", "cut", "json_block"]

JSON_FENCE = "```json\n"
"""Where a prompt's JSON block begins; it ends with a line of three backticks."""

_LONGEST = 4_000


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))


UnitScore = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_clamp)]
"""A number of 0–1 in a model's reply: what is beyond is clamped, what is no number is refused."""


def json_block(document: Mapping[str, Any]) -> str:
    """`document` as the JSON block that prompts carry; texts in it cannot end the block."""
    return f"{JSON_FENCE}{orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()}\n```"


def cut(value: Any) -> Any:
    """A JSON value, or the beginning of its text where it is too long to be worth its tokens."""
    text = orjson.dumps(value).decode()
    if len(text) <= _LONGEST:
        return value
    return f"{text[:_LONGEST]}… ({len(text):,} characters)"
