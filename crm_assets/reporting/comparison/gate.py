"""The gate: is a run worse than its reference by more than a margin?"""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.alignment import pair_runs
from crm_assets.reporting.comparison.compare import align_runs, describe_repetition
from crm_assets.reporting.comparison.models import Measure, PairedDifference
from crm_assets.reporting.comparison.noninferiority import conversations_to_decide, difference_interval
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure
from crm_assets.reporting.comparison.runs import read_run
from crm_assets.reporting.comparison.wording import MEASURE_NAMES, difference
from crm_assets.reporting.figures import Model, tidy
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["DEFAULT_MARGIN", "GateResult", "Outcome", "gate_runs"]

DEFAULT_MARGIN: Final = 2.0
"""In points."""

Outcome = Literal["not_worse", "worse", "undecided"]

_EXIT_CODES: dict[Outcome, int] = {"not_worse": 0, "worse": 1, "undecided": 2}
_points = partial(difference, "strict_success")  # hundredths, whatever the measure


class GateResult(Model):
    """A run held against its reference; as JSON, it is what `gate --json` prints."""

    schema_version: Literal[1] = 1
    """Version of this layout."""
    dataset: str
    """Name of the dataset."""
    run: str
    """Key of the run that is judged."""
    reference: str
    """Key of the run that it is held against."""
    measure: Measure
    """What is compared."""
    margin: float
    """By how much the run may be worse, in points: hundredths of the measure."""
    outcome: Outcome
    """`not_worse` or `worse` by more than the margin; `undecided`: too few conversations to tell."""
    summary: str
    """The outcome, in a sentence."""
    paired: PairedDifference
    """The difference run − reference, as `compare` shows it."""
    low: float | None
    """Lower end of the interval that decides, which holds with few differences, too; null without any
    conversation, or if chance has no part in the difference."""
    high: float | None
    """Upper end of the interval that decides."""
    conversations_needed: int | None
    """If undecided: the conversations that would decide in 80 % of cases, were the difference as observed;
    null if ten million would not."""
    repetition: str | None
    """Why chance has no part in the difference, in a sentence; null if it has."""
    without_verdict: int
    """Conversations that both ran and that have no verdict in at least one; in no figure."""
    not_run: int
    """Conversations of the reference that the run did not run."""
    changed: int
    """Conversations left out because their content changed."""

    @property
    def exit_code(self) -> int:
        """Return 0 for not worse, 1 for worse, 2 for undecided."""
        return _EXIT_CODES[self.outcome]


def gate_runs(
    reference: BaselinePaths,
    run: BaselinePaths,
    *,
    measure: Measure = "strict_success",
    margin: float = DEFAULT_MARGIN,
    intersection: bool = False,
) -> GateResult:
    """Decide whether `run` is worse than `reference` by more than `margin`; `noninferiority` has the rule.

    Of one sample (a run and itself, or its replay) chance has no part in the difference: it decides alone.

    Args:
        reference: the run to hold it against; its sessions are done.
        run: the run to judge; likewise.
        measure: what to compare.
        margin: in points, hundredths of the measure: above 0, at most 100.
        intersection: if the dataset changed, compare the conversations that did not.

    Raises:
        InputError: the runs cannot be compared, or not on this measure.
    """
    a, b = read_run(reference), read_run(run)
    aligned = align_runs(reference, run, a, b, intersection=intersection)
    if measure == "strict_success" and a.side.strict_success_formula != b.side.strict_success_formula:
        raise InputError(
            f"Runs {a.side.run} and {b.side.run} define strict success differently; "
            "gate them with --metric turns_right."
        )
    pairs = pair_runs(a, b, aligned.ids)
    outcomes = pairs.a.means[measure], pairs.b.means[measure]
    compared = compare_measure(*outcomes, measure, seed=0, resamples=DEFAULT_RESAMPLES)
    same = a.side.run == b.side.run
    repetition = (
        "A run is compared with itself."
        if same
        else describe_repetition(reference.key.dataset, a.side, b.side)
    )
    both = ~(outcomes[0] != outcomes[0]) & ~(outcomes[1] != outcomes[1])  # NaN: no verdict
    values = outcomes[0][both], outcomes[1][both]
    paired, allowed = compared.paired, margin / 100
    outcome: Outcome = "undecided"
    interval = needed = None
    if paired.difference is not None and repetition:
        outcome = "worse" if paired.difference < -allowed else "not_worse"
    elif paired.difference is not None:
        interval = difference_interval(*values)
        if interval.low > -allowed:
            outcome = "not_worse"
        elif interval.high < -allowed:
            outcome = "worse"
        else:
            needed = conversations_to_decide(*values, allowed)
    found = GateResult(
        dataset=reference.key.dataset,
        run=b.side.run,
        reference=a.side.run,
        measure=measure,
        margin=margin,
        outcome=outcome,
        summary="",
        paired=paired,
        low=tidy(interval.low if interval else None),
        high=tidy(interval.high if interval else None),
        conversations_needed=needed,
        repetition=repetition,
        without_verdict=compared.without_verdict,
        not_run=aligned.only_in_a,
        changed=aligned.changed,
    )
    return found.model_copy(update={"summary": _summarize(found)})


def _summarize(gate: GateResult) -> str:
    """Return the outcome in a sentence, and what was left out in another."""
    name = MEASURE_NAMES[gate.measure].lower()
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (gate.without_verdict, "without a verdict"),
            (gate.not_run, "that the run did not run"),
            (gate.changed, "whose content changed"),
        )
        if count
    ]
    rest = f" Left out: {', '.join(left_out)}." if left_out else ""
    if gate.paired.difference is None:
        return f"No conversation has a verdict on {name} in both runs, so the gate cannot decide.{rest}"
    count = counted(gate.paired.conversations, "conversation")
    claim = f"worse than {gate.reference} by more than {gate.margin:g} points on {name}"
    observed = f"{_points(gate.paired.difference)} points"
    if gate.low is not None and gate.high is not None:
        observed += f" (95% interval {_points(gate.low)} to {_points(gate.high)})"
    if gate.outcome == "undecided":
        few = f"{count} {'is' if gate.paired.conversations == 1 else 'are'} too few to tell"
        needed = (
            "the difference is at the margin, so no number would tell"
            if gate.conversations_needed is None
            else f"about {gate.conversations_needed:,} would, if the difference stays as observed"
        )
        return f"{few} whether {gate.run} is {claim}: {observed}; {needed}.{rest}"
    word = "is" if gate.outcome == "worse" else "is not"
    same = f" {gate.repetition}" if gate.repetition else ""
    return f"{gate.run} {word} {claim}: {observed} over {count}.{same}{rest}"
