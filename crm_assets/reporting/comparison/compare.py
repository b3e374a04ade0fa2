"""Two baselines of a dataset, compared conversation by conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.flips import find_flips
from crm_assets.reporting.comparison.models import (
    MEASURES,
    Comparison,
    Measure,
    MeasureComparison,
    Outcome,
    SliceComparison,
)
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure, significant_digits
from crm_assets.reporting.comparison.provenance import compare_facts
from crm_assets.reporting.comparison.runs import RunOutcomes, read_run
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["compare_baselines"]

_SHOWN = 12  # digits of a hash
_FEW_DIFFERENCES = 5  # below it, the bootstrap has too little data
Pairs = Sequence[tuple[Outcome, Outcome]]


class _Aligned(NamedTuple):
    """The compared conversations, and how many are left out."""

    pairs: Pairs
    only_in_a: int
    only_in_b: int
    changed: int
    intersection: bool


def compare_baselines(
    a: BaselinePaths,
    b: BaselinePaths,
    *,
    intersection: bool = False,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
) -> Comparison:
    """Compare run `b` with run `a`: every difference is B − A.

    Args:
        a: the reference run; finished.
        b: the compared run; finished.
        intersection: if the dataset changed, compare the conversations that did not.
        seed: of all resampling.
        resamples: of an interval, and of a p-value that is not exact.

    Raises:
        InputError: a run cannot be read, the dataset changed between them and `intersection` is not
            given, or the runs share no conversation.
    """
    run_a, run_b = read_run(a), read_run(b)
    aligned = _align(a, b, run_a, run_b, intersection=intersection)
    measures = tuple(
        compare_measure(aligned.pairs, measure, seed=seed, resamples=resamples) for measure in MEASURES
    )
    return Comparison(
        dataset=a.key.dataset,
        a=run_a.side,
        b=run_b.side,
        seed=seed,
        resamples=resamples,
        intersection=aligned.intersection,
        conversations=len(aligned.pairs),
        only_in_a=aligned.only_in_a,
        only_in_b=aligned.only_in_b,
        changed=aligned.changed,
        provenance=compare_facts(run_a.facts, run_b.facts),
        notes=_notes(run_a, run_b, aligned, measures),
        measures=measures,
        slices=tuple(_slices(aligned.pairs, seed=seed, resamples=resamples)),
        flips=find_flips(run_a, run_b, aligned.pairs),
    )


def _align(
    a: BaselinePaths, b: BaselinePaths, run_a: RunOutcomes, run_b: RunOutcomes, *, intersection: bool
) -> _Aligned:
    """Return the pairs of outcomes, sorted by conversation ID."""
    same_dataset = _same_dataset(run_a, run_b)
    if not same_dataset and not intersection:
        raise InputError(_refusal(run_a, run_b))
    common = run_a.outcomes.keys() & run_b.outcomes.keys()
    kept = common if same_dataset else common & _unchanged(a, b)
    if not kept:
        raise InputError(
            f"Runs {a.key.run} and {b.key.run} share no unchanged conversation, so there is nothing to "
            "compare; choose two runs of the same conversations."
        )
    return _Aligned(
        pairs=[(run_a.outcomes[name], run_b.outcomes[name]) for name in sorted(kept)],
        only_in_a=len(run_a.outcomes.keys() - common),
        only_in_b=len(run_b.outcomes.keys() - common),
        changed=len(common) - len(kept),
        intersection=not same_dataset,
    )


def _same_dataset(a: RunOutcomes, b: RunOutcomes) -> bool:
    revision = a.side.dataset_revision
    return revision is not None and revision == b.side.dataset_revision


def _refusal(a: RunOutcomes, b: RunOutcomes) -> str:
    remedy = (
        "compare runs of one revision, or add --intersection to compare only the conversations that did "
        "not change"
    )
    silent = [each.side.run for each in (a, b) if each.side.dataset_revision is None]
    if silent:
        return f"Run {silent[0]} does not record the dataset revision it ran on; {remedy}."
    revisions = " and ".join(f"{str(each.side.dataset_revision)[:_SHOWN]}…" for each in (a, b))
    return f"The dataset changed between runs {a.side.run} and {b.side.run} ({revisions}); {remedy}."


def _unchanged(a: BaselinePaths, b: BaselinePaths) -> set[str]:
    """Return the conversations whose content is the same in the tasks of both runs."""
    hashes_a, hashes_b = _content_hashes(a), _content_hashes(b)
    return {name for name, content in hashes_a.items() if hashes_b.get(name) == content}


def _content_hashes(paths: BaselinePaths) -> dict[str, str]:
    # The runtime comes along with it; a comparison within one revision reads result files alone.
    from crm_assets.atlas.tasks import read_tasks  # noqa: PLC0415

    return {
        task.conversation.conversation_id: task.conversation.content_hash
        for task in read_tasks(paths.tasks)
    }


def _slices(pairs: Pairs, *, seed: int, resamples: int) -> list[SliceComparison]:
    """Compare by workflow and complexity; p-values are adjusted over all slices of a measure."""
    compared = []
    for measure in MEASURES:
        parts = [
            (by, name, compare_measure(part, measure, seed=seed, resamples=resamples))
            for by, name, part in _parts(pairs)
        ]
        if not any(part.paired.conversations for _, _, part in parts):
            continue  # a measure that these runs do not have
        p_values = [part.paired.p_value for _, _, part in parts]
        adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
        for by, name, part in parts:
            p_value = None if part.paired.p_value is None else significant_digits(next(adjusted))
            compared.append(SliceComparison(**dict(part), by=by, name=name, adjusted_p_value=p_value))
    return compared


def _parts(pairs: Pairs) -> list[tuple[Literal["workflow", "complexity"], str, Pairs]]:
    kinds: tuple[Literal["workflow", "complexity"], ...] = ("workflow", "complexity")
    return [
        (by, name, [pair for pair in pairs if getattr(pair[0], by) == name])
        for by in kinds
        for name in sorted({getattr(outcome, by) for outcome, _ in pairs})
    ]


def _notes(
    run_a: RunOutcomes, run_b: RunOutcomes, aligned: _Aligned, measures: Sequence[MeasureComparison]
) -> tuple[str, ...]:
    a, b = run_a.side, run_b.side
    notes = []
    if a.run == b.run:
        notes.append("Both runs are the same run.")
    if aligned.intersection:
        notes.append(
            f"The dataset changed between the runs. Left out: {_conversations(aligned.changed)} whose "
            "content changed."
        )
    for here, there, count in ((a, b, aligned.only_in_a), (b, a, aligned.only_in_b)):
        if count:
            notes.append(
                f"Left out: {_conversations(count)} of run {here.run} that run {there.run} did not run."
            )
    epochs = max(a.epochs, b.epochs)
    if epochs > 1:
        notes.append(
            f"Conversations ran several times (up to {a.epochs} in A, {b.epochs} in B): each counts once, "
            "by its mean. Where a mean is neither 0 nor 1, the sign-flip test replaces McNemar's."
        )
    notes += _measure_notes(measures)
    return tuple(notes)


def _measure_notes(measures: Sequence[MeasureComparison]) -> list[str]:
    names: dict[Measure, str] = {"strict_success": "strict success", "state_match": "state match"}
    notes = []
    for each in measures:
        differing = each.paired.better + each.paired.worse
        if each.measure in names and each.without_verdict:
            notes.append(
                f"Without a verdict on {names[each.measure]}, and not in its figures: "
                f"{_conversations(each.without_verdict)} ({each.without_verdict_a} in A, "
                f"{each.without_verdict_b} in B)."
            )
        if each.measure in names and 0 < differing < _FEW_DIFFERENCES:
            notes.append(
                f"Only {_conversations(differing)} differ{'s' if differing == 1 else ''} on "
                f"{names[each.measure]}: the interval is too narrow, rely on the p-value."
            )
    return notes


def _conversations(count: int) -> str:
    return counted(count, "conversation")
