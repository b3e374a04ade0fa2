"""Computes a leaderboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.alignment import pair_runs
from crm_assets.reporting.comparison.matrix_models import SetApart
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure, significant_digits
from crm_assets.reporting.comparison.power import ALPHA
from crm_assets.reporting.comparison.runs import RunOutcomes, read_run
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.figures import Rate, tidy
from crm_assets.reporting.intervals import Tally
from crm_assets.reporting.leaderboard.models import Board, BoardPair, BoardSystem, DatasetRate
from crm_assets.reporting.leaderboard.systems import SystemRun, SystemRuns, systems_of
from crm_assets.reporting.run_figures import letters
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["dataset_board", "overall_board"]

_BUILT_IN = "crm_harness"
"""Type of the student whose calls are counted here."""

_Counts = Counter[tuple[int, int, int]]
"""Conversations by successes, verdicts and sessions, of all runs of a system."""


@dataclass(frozen=True)
class _Scored:
    """A system on the conversations of one dataset, or of several one after the other."""

    system: SystemRuns
    means: Floats
    """Strict success of each conversation, mean over its sessions; NaN without a verdict."""
    counts: _Counts
    by_dataset: tuple[DatasetRate, ...] = ()


def dataset_board(project: Project, dataset: str) -> Board:
    """Return the board of a dataset.

    Raises:
        InputError: it has no finished run, or its runs share no conversation.
    """
    systems, apart = systems_of(project, dataset).choose(set())
    return _board([dataset], list(_score(systems)), apart)


def overall_board(project: Project, datasets: Sequence[str]) -> Board:
    """Return the board over several datasets: of the systems that ran on all of them.

    Raises:
        InputError: no system did.
    """
    apart: list[SetApart] = []
    found: dict[str, dict[str, _Scored]] = {}
    known = {dataset: systems_of(project, dataset) for dataset in datasets}
    shared = set.intersection(*(systems.keys for systems in known.values()))
    for dataset, each in known.items():
        systems, others = each.choose(shared)
        apart += others
        for scored in _score(systems):
            found.setdefault(scored.system.key, {})[dataset] = scored
    everywhere: list[_Scored] = []
    for scores in found.values():
        if len(scores) == len(datasets):
            everywhere.append(_joined([scores[name] for name in datasets], datasets))
            continue
        missing = ", ".join(name for name in datasets if name not in scores)
        for scored in scores.values():
            apart += (
                SetApart(run=str(run.paths.key), reason=f"no comparable run on {missing}")
                for run in scored.system.runs
            )
    if not everywhere:
        raise InputError(
            f"No system has comparable runs on all of {', '.join(datasets)}: run one on each (crm-assets "
            "sweep), or name one dataset."
        )
    return _board(datasets, everywhere, apart)


def _joined(scores: Sequence[_Scored], datasets: Sequence[str]) -> _Scored:
    import numpy as np  # noqa: PLC0415  (heavy)

    counts: _Counts = Counter()
    for each in scores:
        counts.update(each.counts)
    return _Scored(
        SystemRuns(scores[0].system.key, [run for each in scores for run in each.system.runs]),
        np.concatenate([each.means for each in scores]),
        counts,
        tuple(
            DatasetRate(dataset=dataset, strict_success=Rate.of(Tally.of_counts(each.counts)))
            for dataset, each in zip(datasets, scores, strict=True)
        ),
    )


def _score(systems: Sequence[SystemRuns]) -> Iterator[_Scored]:
    """Yield the systems with their outcomes on the conversations that all of their runs ran."""
    outcomes = [[read_run(run.paths) for run in system.runs] for system in systems]
    ids = _common([run for runs in outcomes for run in runs])
    first = outcomes[0][0]
    for system, runs in zip(systems, outcomes, strict=True):
        yield _Scored(system, *_pooled(first, runs, ids))


def _common(runs: Sequence[RunOutcomes]) -> pd.Index[str]:
    ids = runs[0].conversations.index
    for run in runs[1:]:
        ids = ids.intersection(run.conversations.index)
    if not len(ids):
        raise InputError("The runs share no conversation, so there is nothing to compare.")
    found: pd.Index[str] = ids.sort_values()
    return found


def _pooled(first: RunOutcomes, runs: Sequence[RunOutcomes], ids: pd.Index[str]) -> tuple[Floats, _Counts]:
    """Return the mean of each conversation over the sessions of all runs, and the conversations by kind."""
    import numpy as np  # noqa: PLC0415  (heavy)

    sides = [pair_runs(first, run, ids).b for run in runs]
    size = len(sides[0].means["strict_success"])
    successes, verdicts = np.zeros(size), np.zeros(size)
    for side in sides:
        owners = side.owners[side.run.sessions["conversation"]]
        values = side.run.sessions["strict_success"].to_numpy(np.float64)
        known = (owners >= 0) & ~np.isnan(values)
        np.add.at(successes, owners[known], values[known])
        np.add.at(verdicts, owners[known], 1.0)
    with np.errstate(invalid="ignore"):
        means = successes / verdicts  # NaN without a verdict
    kinds = zip(successes.astype(int).tolist(), verdicts.astype(int).tolist(), strict=True)
    return means, Counter((good, count, count) for good, count in kinds if count)


def _board(datasets: Sequence[str], scores: Sequence[_Scored], apart: Sequence[SetApart]) -> Board:
    rates = [Rate.of(Tally.of_counts(each.counts)) for each in scores]
    order = sorted(range(len(scores)), key=lambda at: (-(rates[at].value or 0.0), scores[at].system.name))
    scores, rates = [scores[at] for at in order], [rates[at] for at in order]
    pairs = list(_pairs(scores))
    better = _better_than(pairs)
    costs = [_mean(each.system.runs, _cost) for each in scores]
    names = _names([each.system for each in scores])
    systems = []
    for at, (each, rate) in enumerate(zip(scores, rates, strict=True)):
        label = letters(at)
        systems.append(
            BoardSystem(
                label=label,
                name=names[at],
                runs=tuple(str(run.paths.key) for run in each.system.runs),
                rank=1 + sum(label in worse for worse in better.values()) if len(scores) > 1 else None,
                strict_success=rate,
                by_dataset=each.by_dataset,
                better_than=tuple(better.get(label, ())),
                cost_usd=tidy(costs[at]),
                seconds=tidy(_mean(each.system.runs, lambda run: run.metrics.duration_seconds.mean)),
                on_front=_on_front(at, costs, rates),
            )
        )
    return Board(
        datasets=tuple(datasets),
        conversations=len(scores[0].means),
        systems=tuple(systems),
        pairs=tuple(pairs),
        set_apart=tuple(apart),
    )


def _pairs(scores: Sequence[_Scored]) -> Iterator[BoardPair]:
    found = [
        (
            letters(a),
            letters(b),
            compare_measure(
                scores[a].means, scores[b].means, "strict_success", seed=0, resamples=DEFAULT_RESAMPLES
            ).paired,
        )
        for a, b in combinations(range(len(scores)), 2)
    ]
    adjusted = iter(holm([each.p_value for _, _, each in found if each.p_value is not None]))
    for a, b, each in found:
        yield BoardPair(
            a=a,
            b=b,
            conversations=each.conversations,
            difference=each.difference,
            low=each.low,
            high=each.high,
            p_value=each.p_value,
            adjusted_p_value=None if each.p_value is None else significant_digits(next(adjusted)),
        )


def _better_than(pairs: Sequence[BoardPair]) -> Mapping[str, list[str]]:
    """Return, by label, the systems that a system is significantly better than."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.adjusted_p_value is not None and pair.adjusted_p_value <= ALPHA and pair.difference:
            ahead, behind = (pair.b, pair.a) if pair.difference > 0 else (pair.a, pair.b)
            found.setdefault(ahead, []).append(behind)
    return found


def _mean(runs: Sequence[SystemRun], value: Callable[[SystemRun], float | None]) -> float | None:
    known = [found for run in runs if (found := value(run)) is not None]
    return fmean(known) if known else None


def _cost(run: SystemRun) -> float | None:
    """Return the US dollars of a conversation; None if some are unknown, or no model was asked."""
    own_agent = (run.header.agent or {}).get("type", _BUILT_IN) != _BUILT_IN
    if own_agent and "student" not in run.metrics.cost_usd:
        return None  # what it asked, it did not tell
    if any(used.unknown_cost_calls for used in run.metrics.token_usage.values()):
        return None
    return run.metrics.cost_usd_per_conversation.mean


def _on_front(at: int, costs: Sequence[float | None], rates: Sequence[Rate]) -> bool:
    cost, rate = costs[at], rates[at].value
    if cost is None or rate is None:
        return False
    others = (
        (other, found.value)
        for place, (other, found) in enumerate(zip(costs, rates, strict=True))
        if place != at and other is not None and found.value is not None
    )
    return not any(
        other <= cost and found >= rate and (other, found) != (cost, rate) for other, found in others
    )


def _names(systems: Sequence[SystemRuns]) -> list[str]:
    """Return a name for each system; where several have one, with the newest run."""
    names = [system.name for system in systems]
    return [
        f"{name}, as in {system.runs[0].paths.key.run}" if names.count(name) > 1 else name
        for name, system in zip(names, systems, strict=True)
    ]
