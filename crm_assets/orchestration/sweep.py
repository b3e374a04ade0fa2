"""Plans the runs of a sweep, and tells which are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from crm_assets.atlas.saved_plan import save_plan
from crm_assets.atlas.sweep import SavedSweep, SweepRun
from crm_assets.errors import ConfigError
from crm_assets.orchestration.backfills import Backfill
from crm_assets.orchestration.materialize import STAGES, LineageOptions
from crm_assets.reporting.estimate.run import RunEstimate, estimate_run
from crm_assets.reporting.metrics import read_metrics
from crm_assets.workspace.baseline_files import BaselinePaths, plan_run
from crm_assets.workspace.files import write_json
from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.sweep_files import SweepPaths

__all__ = ["LeftRuns", "backfills_of", "begin_sweep", "estimate_left", "left_of"]

_RETRIES = 2


class LeftRuns(NamedTuple):
    """The runs that are left of a sweep."""

    unfinished: list[SweepRun]
    """Runs to begin or to go on with."""
    cut_short: list[SweepRun]
    """Finished runs with sessions that the budget did not cover."""

    @property
    def all(self) -> list[SweepRun]:
        """Return both."""
        return [*self.unfinished, *self.cut_short]


def left_of(project: Project, sweep: SavedSweep) -> LeftRuns:
    """Return what is left of a sweep, by the files of its runs.

    Raises:
        InputError: metrics of a finished run cannot be read.
    """
    left = LeftRuns([], [])
    for run in sweep.runs():
        paths = BaselinePaths.of(project, run.key)
        if not paths.finished:
            left.unfinished.append(run)
        elif sweep.spec.budget_usd is not None and read_metrics(paths.metrics).not_run:
            left.cut_short.append(run)
    return left


def estimate_left(
    project: Project, sweep: SavedSweep, runs: Sequence[SweepRun]
) -> dict[SweepRun, RunEstimate]:
    """Return what runs will cost, or what is left of each; those that cost nothing are left out.

    Raises:
        ConfigError: a budget in dollars meets a model of unknown price.
    """
    found: dict[SweepRun, RunEstimate] = {}
    for run in runs:
        paths = BaselinePaths.of(project, run.key)
        estimate = estimate_run(project, run.key.dataset, run.plan, files=paths, limit=sweep.spec.limit)
        if estimate is None:
            continue
        if sweep.spec.budget_usd is not None and estimate.cost.unpriced:
            raise ConfigError(
                f"The price of {estimate.cost.unpriced[0]} is unknown, so budget_usd cannot be kept: give "
                "usd_per_million_* in the configuration, or leave the budget out."
            )
        found[run] = estimate
    return found


def begin_sweep(project: Project, sweep: SavedSweep) -> None:
    """Keep what a sweep runs, and plan its runs: each has its options from then on.

    Raises:
        InfrastructureError: the disk refused.
    """
    write_json(
        SweepPaths.of(project, RunKey.parse(sweep.run)).plan,
        sweep.model_dump(mode="json", exclude_defaults=True) | {"schema_version": sweep.schema_version},
    )
    for run in sweep.runs():
        paths = BaselinePaths.of(project, run.key)
        plan_run(project, run.key)
        if not paths.plan.is_file() and not paths.begun:
            paths.folder.mkdir(parents=True, exist_ok=True)
            save_plan(project, paths, run.plan, limit=sweep.spec.limit, sweep=sweep.run)


def backfills_of(sweep: SavedSweep, left: LeftRuns) -> list[Backfill]:
    """Return the backfills that make what is left: one, and another where runs were cut short."""
    options = LineageOptions(as_planned=True, retries=_RETRIES, accept_cost=True)
    again = LineageOptions(as_planned=True, resume=True, retries=_RETRIES, accept_cost=True)
    name = f"sweep {sweep.run}"
    from_sessions = STAGES[STAGES.index("atlas_sessions") :]
    found = (
        Backfill(name, [run.key for run in left.unfinished], options),
        Backfill(name, [run.key for run in left.cut_short], again, from_sessions),
    )
    return [backfill for backfill in found if backfill.keys]
