"""JSON for jsonb columns, from any text of a model.

Postgres refuses NUL characters and lone surrogates, orjson refuses integers beyond 64 bits. A session
must not be lost because of one: they are replaced, everything else is unchanged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import orjson

__all__ = ["clean_text", "jsonb"]

_REPLACEMENT = "\ufffd"
_DEEPEST = 100


def jsonb(document: object) -> str:
    """Return `document` as JSON text for a jsonb column; NaN and infinities become null.

    Raises:
        TypeError: it contains a value that JSON cannot represent.
    """
    try:
        text = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, a huge number, or too deep
        text = _by_hand(document)
    return _by_hand(document) if "\\u0000" in text else text


def _by_hand(document: object) -> str:
    return json.dumps(_cleaned(document, 0), ensure_ascii=False, allow_nan=False)


def clean_text(text: str) -> str:
    """Return `text` with U+FFFD for the characters that Postgres refuses."""
    if not text.isascii():
        # Adjacent surrogates form a pair; a lone one is replaced.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", _REPLACEMENT)


def _cleaned(value: object, depth: int) -> Any:
    if depth > _DEEPEST:
        return "…"
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean_text(value)
    return _cleaned_parts(value, depth)


def _cleaned_parts(value: object, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {clean_text(str(name)): _cleaned(part, depth + 1) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(part, depth + 1) for part in value]
    if is_dataclass(value):
        return _cleaned(vars(value), depth)
    return _cleaned(orjson.loads(orjson.dumps(value)), depth + 1)  # times, UUIDs
