"""Calls, results, verdicts and states in words, without control characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from crm_assets.records import PastTurnVerdicts, TurnResult
from crm_assets.reporting.formats import counted, plain
from crm_assets.reporting.wording import describe_kind

__all__ = ["arguments", "mark", "recorded_verdict", "result", "state_lines", "text", "verdict"]

_MOST_RESULT = 420
_MOST_VALUE = 240
_MOST_TEXT = 1200
_MOST_ROWS = 5
_VERDICTS = {
    "exact_match": "Expected call",
    "expected_failure": "Rejected, as expected",
    "judged_success": "Different call, accepted by a judge",
    "undecided": "Undecided: a judge was needed and not available",
}
_REPLIES = {
    "match": "correct reply",
    "mismatch": "wrong reply",
    "unscored": "no verdict on the reply",
}


def mark(verdict: bool | None) -> str:
    """Return a sign for yes, no, or no verdict."""
    return {True: "✓", False: "✗", None: "?"}[verdict]


def text(value: str, longest: int = _MOST_TEXT) -> str:
    """Return text of a person or a model: with its lines, without control characters, cut if long."""
    lines = "\n".join(plain(line) for line in value.strip().splitlines())
    return lines if len(lines) <= longest else f"{lines[: longest - 1]}…"


def arguments(value: Any) -> str:
    """Return the arguments of a call, one per line."""
    if isinstance(value, Mapping):
        lines = [f"{plain(str(name))}: {_value(inner)}" for name, inner in value.items()]
        return "\n".join(lines) or "nothing"
    return "nothing" if value is None else _value(value)


def result(value: Any) -> str:
    """Return a tool's result in short, without empty fields."""
    if isinstance(value, list):
        rows = counted(len(value), "row")
        shown = "\n".join(_fields(row) for row in value[:_MOST_ROWS])
        return _cut(f"{rows}\n{shown}" if value else rows, _MOST_RESULT)
    return _cut(_fields(value), _MOST_RESULT)


def _fields(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _value(value)
    kept = {name: inner for name, inner in value.items() if inner is not None and inner not in ([], {})}
    return ", ".join(f"{plain(str(name))}: {_value(inner)}" for name, inner in kept.items()) or "nothing"


def _value(value: Any) -> str:
    is_words = isinstance(value, str) and value.strip()
    shown = value if is_words else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    return _cut(plain(shown), _MOST_VALUE)


def _cut(value: str, longest: int) -> str:
    return value if len(value) <= longest else f"{value[: longest - 1]}…"


def verdict(turn: TurnResult) -> str:
    """Return the harness's verdict on a turn."""
    name = turn.verification or "no verdict"
    parts = [_VERDICTS.get(name) or describe_kind(name)]
    reply = _REPLIES.get(turn.response_status or "")
    if reply and name != "response_mismatch":  # which says it already
        parts.append(reply)
    said = f"{mark(turn.success)} {'; '.join(parts)}."
    if turn.argument_mismatch_reason and turn.tool_success is not True:
        said += f" {plain(turn.argument_mismatch_reason)}"
    return said


def recorded_verdict(recorded: PastTurnVerdicts) -> str:
    """Return an imported file's own verdict on a turn."""
    said = f"{mark(recorded.recorded_success)} {plain(recorded.recorded_verification or 'no verdict')}"
    said += f" (call {mark(recorded.recorded_tool_success)}"
    said += f", reply {mark(recorded.recorded_response_success)})"
    if recorded.recorded_error:
        said += f"; rejected: {plain(recorded.recorded_error)}"
    if recorded.recorded_judge_score is not None:
        said += f"; judge {recorded.recorded_judge_score:g}"
    if recorded.recorded_judge_rationale:
        said += f": {text(recorded.recorded_judge_rationale, _MOST_RESULT)}"
    return said


def state_lines(difference: Mapping[str, Mapping[str, list[Any]]]) -> Iterator[str]:
    """Yield the differences between the CRM's end state and the expected one, one per line."""
    for table, kinds in difference.items():
        name = plain(table)
        for kind in ("missing", "unexpected"):
            rows = kinds.get(kind) or []
            for row in rows[:_MOST_ROWS]:
                yield f"{name}, {kind}: {_cut(_fields(row), _MOST_RESULT)}"
            yield from _more(name, rows)
        changed = kinds.get("changed") or []
        for row in changed[:_MOST_ROWS]:
            yield from _changed(name, row)
        yield from _more(name, changed)


def _changed(table: str, row: Any) -> Iterator[str]:
    fields = row.get("fields") if isinstance(row, Mapping) else None
    if not isinstance(fields, Mapping):
        yield f"{table} differs: {_value(row)}"
        return
    for field, values in fields.items():
        sides = values if isinstance(values, Mapping) else {}
        expected, actual = (_value(sides.get(side)) for side in ("expected", "actual"))
        yield f"{table} {plain(str(row.get('id')))}: {plain(str(field))} is {actual}, should be {expected}"


def _more(table: str, rows: list[Any]) -> Iterator[str]:
    if len(rows) > _MOST_ROWS:
        yield f"{table}: {len(rows) - _MOST_ROWS:,} more"
