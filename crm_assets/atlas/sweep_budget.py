"""One budget for all runs of a sweep: each run takes its part of what is left when it begins."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from crm_assets.atlas.saved_plan import SavedPlan, saved_plan
from crm_assets.atlas.sweep import SavedSweep
from crm_assets.errors import InputError, first_line
from crm_assets.llm import BudgetExhausted, Spending, ledger_totals
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json
from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.shard_files import shards_of
from crm_assets.workspace.sweep_files import SweepPaths

__all__ = ["planned", "read_sweep", "spent_by"]


def read_sweep(project: Project, key: RunKey) -> SavedSweep:
    """Return a sweep as it was begun.

    Raises:
        InputError: there is none, or its file is damaged.
    """
    path = SweepPaths.of(project, key).plan
    if not path.is_file():
        raise InputError(f"There is no sweep {key}: {path} is missing.")
    try:
        return SavedSweep.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is no sweep ({first_line(error)}); begin a new one.") from error


def planned(project: Project, paths: BaselinePaths) -> SavedPlan:
    """Return what was planned for a run, with its part of the sweep's budget if it is of a sweep with one.

    Raises:
        InputError: nothing was planned for it.
        BudgetExhausted: nothing is left of the sweep's budget.
    """
    saved = saved_plan(paths)
    if saved is None:
        raise InputError(f"Nothing was planned for run {paths.key}: {paths.plan} is missing.")
    if saved.sweep is None or not saved.sessions.asks_models:
        return saved
    sweep = read_sweep(project, RunKey.parse(saved.sweep))
    if sweep.spec.budget_usd is None:
        return saved
    with _locked(SweepPaths.of(project, RunKey.parse(saved.sweep)).lock):
        granted = _granted(project, paths, sweep, sweep.spec.budget_usd)
        saved = saved.model_copy(
            update={"sessions": saved.sessions.model_copy(update={"budget_usd": granted})}
        )
        write_json(paths.plan, saved.document())
    return saved


def _granted(project: Project, paths: BaselinePaths, sweep: SavedSweep, budget: float) -> float:
    """Return up to which amount a run may go, earlier starts included.

    What other runs have spent, and what is left of the part of those that have begun, is not to be had. Of
    the rest each run that has not begun gets the share that its estimate is of theirs.
    """
    own, free, waiting = spent_by(paths), budget - spent_by(paths), 0.0
    weight = sweep.expected_usd.get(str(paths.key), 1.0)
    for run in sweep.runs():
        other = BaselinePaths.of(project, run.key)
        if run.key == paths.key or not run.plan.asks_models:
            continue
        spent = spent_by(other)
        free -= spent
        if other.finished:
            continue
        if other.begun:
            part = saved_plan(other)
            granted = part.sessions.budget_usd if part else None
            free -= max(0.0, (granted or 0.0) - spent)
        else:
            waiting += sweep.expected_usd.get(str(run.key), 1.0)
    share = free * weight / (weight + waiting) if weight + waiting else free
    if share <= 0:
        raise BudgetExhausted(
            f"The budget of ${budget:g} of sweep {sweep.run} is spent; what is finished is kept."
        )
    return round(own + share, 6)


def spent_by(paths: BaselinePaths) -> float:
    """Return the US dollars that a run has spent, estimates of what is unknown included."""
    ledgers = (files.ledger for files in (paths, *shards_of(paths)))
    total = Spending.total(
        spending for ledger in ledgers if ledger.is_file() for spending in ledger_totals(ledger).values()
    )
    return (total.cost_usd or 0.0) + (total.estimated_usd or 0.0)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other run takes its part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
