"""A comparison in words, shared by everything that shows one."""

from __future__ import annotations

import re
from typing import Any

import orjson

from crm_assets.reporting.comparison.models import (
    ComparedCall,
    Comparison,
    FactChange,
    Flip,
    Measure,
    MeasureComparison,
    PairedDifference,
    RunSide,
)
from crm_assets.reporting.comparison.power import ALPHA
from crm_assets.reporting.document import Cell
from crm_assets.reporting.document import figures as columns_of_figures
from crm_assets.reporting.formats import NOTHING, counted, plain, share

__all__ = [
    "FIGURES",
    "MEASURE_NAMES",
    "TEST_NAMES",
    "brief",
    "change_of",
    "counts_of_flips",
    "describe_call",
    "describe_side",
    "detectable",
    "difference",
    "fact_values",
    "figures",
    "headline",
    "p_value",
    "shorten",
    "verdict_of",
]

MEASURE_NAMES: dict[Measure, str] = {
    "strict_success": "Strict success",
    "turns_right": "Every turn correct",
    "state_match": "State match",
    "reward": "Reward",
    "harness_reward": "Correct turns",
}
TEST_NAMES = {
    "mcnemar_exact": "exact McNemar test",
    "sign_flip_exact": "exact sign-flip test",
    "sign_flip_monte_carlo": "sampled sign-flip test",
    "sign_flip_normal": "sign-flip test, normal approximation",
    None: NOTHING,
}
FIGURES = columns_of_figures("A", "B", "B − A", "95% interval", "better / worse")
"""The columns that `figures` fills."""

_SHARES: tuple[Measure, ...] = ("strict_success", "turns_right", "state_match", "harness_reward")
_SMALLEST_P = 0.0001
_LONG = 60
_HASH = 12
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BEFORE = 15  # characters shown before the place where two long values differ


def value(measure: Measure, figure: float | None) -> str:
    """Return a run's mean."""
    if measure in _SHARES:
        return share(figure)
    return NOTHING if figure is None else f"{figure:.3f}"


def difference(measure: Measure, figure: float | None, *, signed: bool = True) -> str:
    """Return a difference of two means: percentage points for shares, the measure's own unit otherwise."""
    if figure is None:
        return NOTHING
    scaled, digits = (figure * 100, 1) if measure in _SHARES else (figure, 3)
    text = f"{abs(scaled):.{digits}f}"
    if not signed or not float(text):
        return text
    return f"{'+' if scaled > 0 else '−'}{text}"


def interval(measure: Measure, paired: PairedDifference) -> str:
    """Return the interval of a difference."""
    if paired.low is None:
        return NOTHING
    return f"{difference(measure, paired.low)} to {difference(measure, paired.high)}"


def p_value(figure: float | None) -> str:
    """Return a p-value; a small one is not rounded to 0."""
    if figure is None:
        return NOTHING
    return f"<{_SMALLEST_P}" if figure < _SMALLEST_P else f"{figure:.4f}"


def figures(each: MeasureComparison) -> tuple[Cell, ...]:
    """Return the cells of one comparison under the columns `FIGURES`."""
    measure, paired = each.measure, each.paired
    return (
        value(measure, paired.mean_a),
        value(measure, paired.mean_b),
        difference(measure, paired.difference),
        interval(measure, paired),
        f"{paired.better:,}/{paired.worse:,}",
    )


def detectable(each: MeasureComparison) -> str:
    """Return the minimum detectable difference; without one in the measure's range, n is too small."""
    smallest = each.paired.detectable_difference
    if smallest is None and each.paired.test != "mcnemar_exact":
        return NOTHING  # no spread, so nothing to detect
    if smallest is None or smallest > 1:
        return "n too small"
    return difference(each.measure, smallest, signed=False)


def headline(comparison: Comparison) -> str:
    """Return the main result in a sentence; that two runs are one sample comes first."""
    result = _result(comparison)
    return f"{comparison.repetition} {result}" if comparison.repetition else result


def _result(comparison: Comparison) -> str:
    """Return the result on strict success in a sentence; on turns, if the runs define it differently."""
    main = comparison.by(comparison.main_measure)
    name, paired = MEASURE_NAMES[main.measure].lower(), main.paired
    if paired.difference is None:
        return f"No conversation has a verdict on {name} in both runs, so they cannot be compared on it."
    points = f"{difference(main.measure, paired.difference)} points"
    how = f"95% interval {interval(main.measure, paired)}; p {_equals(paired.p_value)}"
    if paired.p_value is not None and paired.p_value <= ALPHA:
        word = "better" if paired.difference > 0 else "worse"
        return f"B did {word} on {name}: {points} ({how})."
    count, smallest = counted(paired.conversations, "conversation"), paired.detectable_difference
    if smallest is None or smallest > 1:
        power = f"{count} {'is' if paired.conversations == 1 else 'are'} too few to tell"
    else:
        power = f"minimum detectable difference with {count}: {detectable(main)} points"
    return f"No significant difference in {name}: {points} ({how}); {power}."


def brief(comparison: Comparison) -> str:
    """Return the main result in at most 60 characters, the figure first; `headline` has the rest."""
    main = comparison.by(comparison.main_measure)
    if main.paired.difference is None or comparison.repetition:
        return headline(comparison)
    points = f"{difference(main.measure, main.paired.difference)} points"
    return f"{points} (95% interval {interval(main.measure, main.paired)})"


def _equals(figure: float | None) -> str:
    text = p_value(figure)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def describe_side(side: RunSide) -> str:
    """Return a run in a line."""
    agent = f", agent {plain(side.agent)}" if side.agent else ""
    agent += f", {side.origin.label}" if side.origin else ""
    statuses = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in side.statuses.items())
    return f"{side.run}{agent}: {counted(side.sessions, 'session')} ({statuses})"


def fact_values(change: FactChange) -> tuple[str, str]:
    """Return both values of a fact, long ones cut to where they differ."""
    a, b = (NOTHING if each is None else plain(_text(each)) for each in (change.a, change.b))
    parted = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(0, parted - _BEFORE) if max(len(a), len(b)) > _LONG else 0
    return _window(a, start), _window(b, start)


def _window(text: str, start: int) -> str:
    return ("…" if start else "") + shorten(text[start:], _LONG)


def shorten(text: str, longest: int) -> str:
    """Return at most `longest` characters of `text`."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text(each: Any) -> str:
    """Return a value as a text; of a hash its beginning, which tells it apart."""
    text = each if isinstance(each, str) else orjson.dumps(each).decode()
    return text[:_HASH] if _SHA256.fullmatch(text) else text


def change_of(flip: Flip) -> str:
    """Return what changed in a conversation, in a few words."""
    parts = [
        f"{name} {change}"
        for name, change in (("strict", flip.strict_success), ("state", flip.state_match))
        if change
    ]
    return ", ".join(parts)


def counts_of_flips(comparison: Comparison) -> str:
    """Return how many conversations were gained and lost, in a sentence."""
    changes = comparison.changes
    return (
        f"{MEASURE_NAMES[comparison.main_measure]}: {changes.gained:,} gained, {changes.lost:,} lost. "
        f"State match: {changes.state_gained:,} gained, {changes.state_lost:,} lost."
    )


def describe_call(call: ComparedCall | None) -> str:
    """Return a call on one line."""
    if call is None:
        return "not reached"
    if call.tool is None:
        return "no call"
    return plain(f"{call.tool} {orjson.dumps(call.arguments).decode()}")


def verdict_of(call: ComparedCall | None) -> str:
    """Return the verdict on a call."""
    if call is None:
        return NOTHING
    mark = {True: "✓", False: "✗", None: "?"}[call.success]
    return f"{mark} {(call.verification or 'no verdict').replace('_', ' ')}"
