"""More than two baselines of a dataset, each compared with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.alignment import PairedRuns, pair_runs
from crm_assets.reporting.comparison.compare import unchanged_conversations
from crm_assets.reporting.comparison.matrix_models import (
    ConversationRow,
    MatrixRun,
    PairComparison,
    RunMatrix,
    RunMean,
    SetApart,
)
from crm_assets.reporting.comparison.models import MEASURES
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure, significant_digits
from crm_assets.reporting.comparison.runs import UNKNOWN_CONTENT, RunOutcomes, read_run
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.figures import tidy
from crm_assets.reporting.metrics import read_metrics
from crm_assets.reporting.run_figures import RunFigures, Sample, letters
from crm_assets.workspace.baseline_files import BaselinePaths

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from crm_assets.reporting.comparison.runs import Means

__all__ = ["compare_all"]


class _Compared(NamedTuple):
    """A run of the sample."""

    paths: BaselinePaths
    outcomes: RunOutcomes

    @property
    def key(self) -> str:
        return str(self.paths.key.run)


def compare_all(
    runs: Sequence[BaselinePaths],
    *,
    intersection: bool = False,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
) -> RunMatrix:
    """Compare each run with each other one, over the conversations that all of them ran.

    A run of another sample than the first one's is set apart (see `run_figures.Sample`), and so is one that
    repeats the results of another.

    Args:
        runs: finished runs of one dataset.
        intersection: if the dataset changed, compare the conversations that did not.
        seed: of all resampling.
        resamples: of an interval, and of a p-value that is not exact.

    Raises:
        InputError: a run cannot be read or is named twice, fewer than two are of one sample, or they share
            no conversation.
    """
    keys = [str(paths.key.run) for paths in runs]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"Run {key} is named twice: name each run once.")
    chosen, set_apart = _one_sample(runs, intersection=intersection)
    if not chosen[1:]:
        reasons = "; ".join(f"{each.run}: {each.reason}" for each in set_apart)
        raise InputError(
            f"No other run is comparable with {keys[0]} ({reasons}). Name runs of one sample first, as "
            "`crm-assets runs list` shows them"
            f"{'' if intersection else ', or add --intersection for runs of a changed dataset'}."
        )
    compared = [_Compared(paths, read_run(paths)) for paths in chosen]
    ids = _common(compared)
    return _matrix(compared, set_apart, ids, intersection=intersection, seed=seed, resamples=resamples)


def _one_sample(
    runs: Sequence[BaselinePaths], *, intersection: bool
) -> tuple[list[BaselinePaths], list[SetApart]]:
    """Part the runs into those of the first one's sample and the others."""

    def comparable(sample: Sample) -> Sample:
        return sample._replace(dataset_revision=None, conversations=0) if intersection else sample

    chosen: list[BaselinePaths] = []
    apart: list[SetApart] = []
    reference: Sample | None = None
    measured: dict[str, str] = {}
    for paths in runs:
        key, figures = str(paths.key.run), RunFigures.of(read_metrics(paths.metrics))
        sample = comparable(figures.sample)
        reference = reference or sample
        results = figures.origin.sample if figures.origin else str(paths.key)
        if sample != reference:
            apart.append(SetApart(run=key, reason=reference.differences(sample)))
        elif results in measured:
            apart.append(SetApart(run=key, reason=f"the same results as run {measured[results]}"))
        else:
            measured[results] = key
            chosen.append(paths)
    return chosen, apart


def _common(runs: Sequence[_Compared]) -> pd.Index[str]:
    """Return the IDs of the conversations to compare, sorted: those that all runs ran, unchanged."""
    (first, *others) = (run.outcomes.conversations.index for run in runs)
    ids = first
    for other in others:
        ids = ids.intersection(other)
    if len({run.outcomes.side.dataset_revision for run in runs}) > 1:
        ids = ids[ids.isin(unchanged_conversations([run.paths for run in runs]))]
    if not len(ids):
        named = ", ".join(run.key for run in runs)
        raise InputError(
            f"Runs {named} share no unchanged conversation, so there is nothing to compare; choose runs of "
            "the same conversations."
        )
    found: pd.Index[str] = ids.sort_values()
    return found


def _matrix(
    runs: Sequence[_Compared],
    set_apart: Sequence[SetApart],
    ids: pd.Index[str],
    *,
    intersection: bool,
    seed: int,
    resamples: int,
) -> RunMatrix:
    # Which conversations are copies is said by contents, which old sessions do not record.
    known = [int((run.outcomes.conversations["content"] != UNKNOWN_CONTENT).sum()) for run in runs]
    first = runs[known.index(max(known))].outcomes
    aligned = [pair_runs(first, run.outcomes, ids) for run in runs]
    means = [pairs.b.means for pairs in aligned]
    revisions = {run.outcomes.side.dataset_revision for run in runs}
    return RunMatrix(
        dataset=runs[0].paths.key.dataset,
        runs=tuple(
            MatrixRun(label=letters(number), side=run.outcomes.side, means=tuple(_means(means[number])))
            for number, run in enumerate(runs)
        ),
        set_apart=tuple(set_apart),
        seed=seed,
        resamples=resamples,
        intersection=intersection and len(revisions) > 1,
        conversations=len(aligned[0].ids),
        pairs=tuple(_pairs(runs, means, seed=seed, resamples=resamples)),
        outcomes=tuple(_rows(first, aligned[0], means)),
    )


def _means(means: Means) -> Iterator[RunMean]:
    import numpy as np  # noqa: PLC0415  (heavy)

    for measure in MEASURES:
        known = means[measure][~np.isnan(means[measure])]
        mean = tidy(float(known.mean())) if len(known) else None
        yield RunMean(measure=measure, conversations=len(known), mean=mean)


def _pairs(
    runs: Sequence[_Compared], means: Sequence[Means], *, seed: int, resamples: int
) -> Iterator[PairComparison]:
    """Compare all pairs; p-values are adjusted over the pairs of a measure."""
    for measure in MEASURES:
        found = [
            (
                runs[a].key,
                runs[b].key,
                compare_measure(
                    means[a][measure], means[b][measure], measure, seed=seed, resamples=resamples
                ),
            )
            for a, b in combinations(range(len(runs)), 2)
        ]
        p_values = [each.paired.p_value for _, _, each in found]
        adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
        for a_key, b_key, each in found:
            p_value = None if each.paired.p_value is None else significant_digits(next(adjusted))
            yield PairComparison(**dict(each), a=a_key, b=b_key, adjusted_p_value=p_value)


def _rows(first: RunOutcomes, aligned: PairedRuns, means: Sequence[Means]) -> Iterator[ConversationRow]:
    facts = first.conversations.loc[list(aligned.ids)]
    columns: list[NDArray[np.float64]] = [each["strict_success"] for each in means]
    for name, workflow, complexity, *outcomes in zip(
        aligned.ids,
        facts["workflow"],
        facts["complexity"],
        *(column.tolist() for column in columns),
        strict=True,
    ):
        yield ConversationRow(
            conversation_id=name,
            workflow=workflow,
            complexity=complexity,
            outcomes=tuple(None if each != each else tidy(each) for each in outcomes),  # noqa: PLR0124  (NaN)
        )
