"""Compares an agent's call with the expected one.

Every expected field must be there: numbers as numbers (`"1000"` = 1000), text trimmed, lists in order
and of equal length, objects recursively. Fields beyond the expected ones do not fail the match. Both
calls are first brought to the tool's one spelling, so that `criteria` and flat arguments are the same.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from crm_assets.conversations import JsonObject
from crm_assets.crm import TOOLS

__all__ = ["argument_mismatch", "same_tool"]

_SHOWN = 200


def same_tool(expected: str, called: str | None) -> bool:
    """Tell whether both names are of one tool."""
    if called is None:
        return False
    if expected == called:
        return True
    one, other = TOOLS.get(expected), TOOLS.get(called)
    return one is not None and other is not None and one.same_as == other.same_as


def argument_mismatch(tool: str, expected: JsonObject, actual: object) -> str | None:
    """Return why `actual` is not the expected call of `tool`; None if it is."""
    if not isinstance(actual, dict):
        return f"Arguments are no object: {_show(actual)}"
    known = TOOLS.get(tool)
    if known is not None:
        expected, actual = known.canonical(expected), known.canonical(actual)
    return _object_mismatch(expected, actual, "")


def _object_mismatch(expected: JsonObject, actual: JsonObject, path: str) -> str | None:
    for name, value in expected.items():
        where = f"{path}{name}"
        if value is None and actual.get(name) is None:
            continue
        if name not in actual:
            return f"Missing required field: {where}"
        reason = _mismatch(value, actual[name], where)
        if reason is not None:
            return reason
    return None


def _mismatch(expected: object, actual: object, where: str) -> str | None:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _object_mismatch(expected, actual, f"{where}.")
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"Field {where}: {len(actual)} entries instead of {len(expected)}"
        for position, (one, other) in enumerate(zip(expected, actual, strict=True)):
            reason = _mismatch(one, other, f"{where}[{position}]")
            if reason is not None:
                return reason
        return None
    if _equal(expected, actual):
        return None
    return f"Field {where}: {_show(actual)} != {_show(expected)}"


def _equal(expected: object, actual: object) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, str) and isinstance(actual, str):
        return expected.strip() == actual.strip()
    if isinstance(expected, (int, float)) or isinstance(actual, (int, float)):
        one, other = _number(expected), _number(actual)
        return one is not None and one == other
    return bool(expected == actual)


def _number(value: object) -> Decimal | None:
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, (float, str)):
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            return None
        return number if number.is_finite() else None
    return None


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
