"""The runs of a dataset, finished or not, as their folders show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from crm_assets.atlas.saved_plan import begun_plan
from crm_assets.engine import tally_of
from crm_assets.errors import InputError
from crm_assets.reporting.formats import percent
from crm_assets.reporting.run_figures import RunFigures, Sample, samples_of
from crm_assets.workspace.baseline_files import BaselinePaths, prefetch
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.notes import RunNotes, read_notes
from crm_assets.workspace.project import Project
from crm_assets.workspace.run_names import in_order
from crm_assets.workspace.states import RunState, status_of

__all__ = ["ListedRun", "list_runs"]


@dataclass(frozen=True)
class ListedRun:
    """One run of a dataset."""

    key: BaselineKey
    state: str
    """The name of its state (see `workspace.states`); under way, with how many sessions are done."""
    age: timedelta
    """Time since its key's."""
    command: str | None = None
    """The command that goes on; None for a finished run."""
    note: str | None = None
    """Further facts about its state."""
    agent: str | None = None
    sample: str | None = None
    """A letter, the same for runs whose figures are comparable; A is that of the newest."""
    conversations: str | None = None
    """Their number, times the epochs of each: `60`, `8 × 3`."""
    strict_success: str | None = None
    reward: float | None = None
    cost_usd: float | None = None
    """That the run itself cost."""
    recorded_cost_usd: float | None = None
    """Of a run that repeats another, what that one cost."""
    repeats: str | None = None
    """Results that it repeats, as in `replay of 20260131T093000Z`; None for a run of its own."""
    notes: RunNotes = field(default_factory=RunNotes)
    """What people noted of it."""


def list_runs(project: Project, dataset: str, *, now: datetime | None = None) -> list[ListedRun]:
    """Return every run of `dataset` that has a folder, oldest first."""
    now = now or datetime.now(timezone.utc)
    runs = in_order(project, dataset)
    prefetch(runs)
    figures = {paths.key: _figures(paths) for paths in runs if paths.has_sessions}
    samples = samples_of(each for each in figures.values() if each)
    return [
        replace(_summary(paths, now, figures.get(paths.key), samples), notes=read_notes(paths))
        for paths in runs
    ]


def _figures(paths: BaselinePaths) -> RunFigures | None:
    """Return the figures of a run whose sessions are done; None where it is not scored."""
    from crm_assets.reporting.metrics import read_metrics  # noqa: PLC0415  (heavy)

    try:
        return RunFigures.of(read_metrics(paths.metrics))
    except InputError:
        return None


def _summary(
    paths: BaselinePaths, now: datetime, figures: RunFigures | None, samples: Mapping[Sample, str]
) -> ListedRun:
    age = now - paths.key.run.started
    status = status_of(paths)
    if figures is None:
        return ListedRun(
            paths.key, _progress(paths, status.state), age, command=status.command, note=status.note
        )
    return ListedRun(
        paths.key,
        status.state.value,
        age,
        command=status.command,
        note=status.note,
        agent=figures.who,
        sample=samples[figures.sample],
        conversations=figures.size,
        strict_success=percent(figures.strict_success),
        reward=figures.reward.mean,
        cost_usd=figures.cost_usd,
        recorded_cost_usd=figures.recorded_cost_usd,
        repeats=figures.origin.label if figures.origin else None,
    )


def _progress(paths: BaselinePaths, state: RunState) -> str:
    """Return the state in words: of a run under way, with how many of its sessions have a verdict."""
    if state is not RunState.UNDER_WAY or not paths.tasks.is_file():
        return state.value
    tally, plan = tally_of(paths.partial), begun_plan(paths)
    with paths.tasks.open("rb") as handle:
        total = sum(1 for _ in handle) * (plan.epochs if plan else 1)
    return f"{state.value}, {tally.total - tally.to_be_run_again} of {total} sessions"
