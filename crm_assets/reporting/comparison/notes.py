"""Notes to read before the figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterator

from crm_assets.reporting.comparison.models import Comparison, Measure, RunSide
from crm_assets.reporting.formats import counted, percent
from crm_assets.reporting.wording import STRICT_MEANING, describe_floor

__all__ = ["notes_on", "remembered"]

_FEW_DIFFERENCES = 5  # below it, the bootstrap has too little data
_NAMES: dict[Measure, str] = {
    "strict_success": "strict success",
    "turns_right": "turns",
    "state_match": "state match",
}


def notes_on(comparison: Comparison) -> tuple[str, ...]:
    """Return remarks on a comparison, one sentence or two each."""
    return (*_on_samples(comparison), *_on_measures(comparison))


def _on_samples(comparison: Comparison) -> Iterator[str]:
    a, b = comparison.a, comparison.b
    if a.run == b.run:
        yield "Both runs are the same run."
    if a.strict_success_formula != b.strict_success_formula:
        yield (
            f"The runs define strict success differently (A: {STRICT_MEANING[a.strict_success_formula]}; "
            f"B: {STRICT_MEANING[b.strict_success_formula]}), so every turn correct is compared instead."
        )
    if comparison.intersection:
        yield (
            f"The dataset changed between the runs. Left out: {_conversations(comparison.changed)} whose "
            "content changed."
        )
    for here, there, count in ((a, b, comparison.only_in_a), (b, a, comparison.only_in_b)):
        if count:
            yield f"Left out: {_conversations(count)} of run {here.run} that run {there.run} did not run."
    for side in (a, b):
        yield from remembered(side)
    if comparison.copies:
        yield (
            f"Copies of another conversation under a different ID: {comparison.copies:,}. Each content "
            "counts once, by its mean."
        )
    if max(a.epochs, b.epochs) > 1:
        yield (
            f"Conversations ran several times (up to {a.epochs} in A, {b.epochs} in B): each counts once, "
            "by its mean. Where a mean is neither 0 nor 1, the sign-flip test replaces McNemar's."
        )
    if (floor := comparison.state_match_floor) is not None:
        yield (
            f"An agent that calls nothing would match {percent(floor)} of the end states "
            f"({describe_floor(floor)})."
        )


def remembered(side: RunSide) -> Iterator[str]:
    """Yield that a run met what its own conversations had taught, if it did."""
    if side.taught_by:
        yield (
            f"Run {side.run} started from a playbook that {_conversations(side.taught_by)} of it had "
            "taught before: their results may be remembered."
        )


def _on_measures(comparison: Comparison) -> Iterator[str]:
    for measure in (comparison.main_measure, "state_match"):
        each = comparison.by(measure)
        differing = each.paired.better + each.paired.worse
        if each.without_verdict:
            yield (
                f"Without a verdict on {_NAMES[measure]}, and not in its figures: "
                f"{_conversations(each.without_verdict)} ({each.without_verdict_a} in A, "
                f"{each.without_verdict_b} in B)."
            )
        if 0 < differing < _FEW_DIFFERENCES:
            yield (
                f"Only {_conversations(differing)} differ{'s' if differing == 1 else ''} on "
                f"{_NAMES[measure]}: the interval is too narrow, rely on the p-value."
            )


def _conversations(count: int) -> str:
    return counted(count, "conversation")
