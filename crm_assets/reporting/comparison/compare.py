"""Two baselines of a dataset, compared conversation by conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.alignment import SliceKind, pair_runs
from crm_assets.reporting.comparison.flips import find_flips
from crm_assets.reporting.comparison.models import (
    MEASURES,
    ChangeCounts,
    Comparison,
    RunSide,
    SliceComparison,
)
from crm_assets.reporting.comparison.notes import notes_on
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure, significant_digits
from crm_assets.reporting.comparison.prompts import compare_prompts
from crm_assets.reporting.comparison.provenance import compare_facts
from crm_assets.reporting.comparison.runs import RunOutcomes, read_run
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.figures import Rate
from crm_assets.workspace.baseline_files import BaselinePaths

if TYPE_CHECKING:
    import pandas as pd

    from crm_assets.reporting.comparison.runs import Numbers

__all__ = ["align_runs", "compare_baselines", "describe_repetition", "unchanged_conversations"]

_SHOWN = 12  # digits of a hash
_ONE_SAMPLE = (
    ", so they are one sample: a difference is one of code, settings or data, and chance has no part in it."
)


class _Aligned(NamedTuple):
    """The compared conversations, and how many are left out."""

    ids: pd.Index[str]
    """Sorted."""
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
    aligned = align_runs(a, b, run_a, run_b, intersection=intersection)
    pairs = pair_runs(run_a, run_b, aligned.ids)
    measures = tuple(
        compare_measure(
            pairs.a.means[measure], pairs.b.means[measure], measure, seed=seed, resamples=resamples
        )
        for measure in MEASURES
    )
    found = Comparison(
        dataset=a.key.dataset,
        a=run_a.side,
        b=run_b.side,
        seed=seed,
        resamples=resamples,
        intersection=aligned.intersection,
        repetition=describe_repetition(a.key.dataset, run_a.side, run_b.side),
        conversations=len(pairs.ids),
        copies=len(aligned.ids) - len(pairs.ids),
        state_match_floor=_floor(pairs.noop),
        only_in_a=aligned.only_in_a,
        only_in_b=aligned.only_in_b,
        changed=aligned.changed,
        provenance=compare_facts(run_a.facts, run_b.facts),
        prompts=compare_prompts(a, b),
        notes=(),
        measures=measures,
        slices=tuple(_slices(run_a, run_b, aligned.ids, seed=seed, resamples=resamples)),
        changes=ChangeCounts(),
        flips=(),
    )
    changes, flips = find_flips(pairs, found.main_measure)
    return found.model_copy(update={"notes": notes_on(found), "changes": changes, "flips": flips})


def align_runs(
    a: BaselinePaths, b: BaselinePaths, run_a: RunOutcomes, run_b: RunOutcomes, *, intersection: bool
) -> _Aligned:
    """Return the IDs of the conversations to compare, sorted.

    Raises:
        InputError: as `compare_baselines`.
    """
    same_dataset = _same_dataset(run_a, run_b)
    if not same_dataset and not intersection:
        raise InputError(_refusal(run_a, run_b))
    of_a, of_b = run_a.conversations.index, run_b.conversations.index
    common = of_a.intersection(of_b)
    kept = common if same_dataset else common[common.isin(unchanged_conversations([a, b]))]
    if not len(kept):
        raise InputError(
            f"Runs {a.key.run} and {b.key.run} share no unchanged conversation, so there is nothing to "
            "compare; choose two runs of the same conversations."
        )
    return _Aligned(
        ids=kept.sort_values(),
        only_in_a=len(of_a) - len(common),
        only_in_b=len(of_b) - len(common),
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


def unchanged_conversations(runs: Iterable[BaselinePaths]) -> set[str]:
    """Return the IDs of the conversations whose content is the same in the tasks of all runs."""
    # The runtime comes along with it; a comparison within one revision reads result files alone.
    from crm_assets.atlas.tasks import read_tasks  # noqa: PLC0415

    contents = (
        {
            (task.conversation.conversation_id, task.conversation.content_hash)
            for task in read_tasks(paths.tasks)
        }
        for paths in runs
    )
    return {name for name, _ in set.intersection(*contents)}


def _floor(noop: Numbers) -> Rate | None:
    """Return the state match of an agent that calls nothing, where a run records it."""
    known = noop[noop >= 0]
    return Rate.of_conversations(int(known.sum()), len(known)) if len(known) else None


def _slices(
    a: RunOutcomes, b: RunOutcomes, ids: pd.Index[str], *, seed: int, resamples: int
) -> list[SliceComparison]:
    """Compare by workflow and complexity; p-values are adjusted over all slices of a measure."""
    kinds: tuple[SliceKind, ...] = ("workflow", "complexity")
    slices = [
        (by, str(name), pairs, pairs.slices == name)
        for by in kinds
        for pairs in (pair_runs(a, b, ids, by=by),)
        for name in sorted(set(pairs.slices))
    ]
    compared = []
    for measure in MEASURES:
        parts = [
            (
                by,
                name,
                compare_measure(
                    pairs.a.means[measure][chosen],
                    pairs.b.means[measure][chosen],
                    measure,
                    seed=seed,
                    resamples=resamples,
                ),
            )
            for by, name, pairs, chosen in slices
        ]
        if not any(part.paired.conversations for _, _, part in parts):
            continue  # a measure that these runs do not have
        p_values = [part.paired.p_value for _, _, part in parts]
        adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
        for by, name, part in parts:
            p_value = None if part.paired.p_value is None else significant_digits(next(adjusted))
            compared.append(SliceComparison(**dict(part), by=by, name=name, adjusted_p_value=p_value))
    return compared


def describe_repetition(dataset: str, a: RunSide, b: RunSide) -> str | None:
    """Return why the runs are one sample; None if they are two."""
    names = {side.run: f"{dataset}|{side.run}" for side in (a, b)}
    if a.run == b.run:
        return None
    for name, side, other, there in (("B", b, "A", a), ("A", a, "B", b)):
        if side.origin is not None and side.origin.sample == names[there.run]:
            what = {
                "replay": "is a replay of",
                "rescored": "repeats the calls of",
                "import": "is a copy of",
            }
            return f"{name} {what[side.origin.kind]} {other}{_ONE_SAMPLE}"
    if a.origin is not None and b.origin is not None and a.origin.sample == b.origin.sample:
        return f"A and B repeat the same results ({a.origin.label}){_ONE_SAMPLE}"
    return None
