"""The runs of a dataset, finished or not, as their folders show them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from crm_assets.errors import InputError
from crm_assets.reporting.formats import percent
from crm_assets.reporting.run_figures import RunFigures, Sample, samples_of
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

__all__ = ["RunState", "RunSummary", "list_runs", "runs_of"]

RunState = str
"""`finished`, `not scored` (its sessions are done, its metrics missing), `12 of 60 sessions`,
`tasks only` or `empty`."""


@dataclass(frozen=True)
class RunSummary:
    """One run of a dataset."""

    key: BaselineKey
    state: RunState
    age: timedelta
    """Time since its key's."""
    agent: str | None = None
    sample: str | None = None
    """A letter, the same for runs whose figures are comparable; A is that of the newest."""
    conversations: str | None = None
    """How many, and how often each ran: `60`, `8 × 3`."""
    strict_success: str | None = None
    reward: float | None = None
    cost_usd: float | None = None
    """That the run itself cost."""
    recorded_cost_usd: float | None = None
    """Of a run that repeats another, what that one cost."""
    repeats: str | None = None
    """What it repeats, as in `replay of 20260131T093000Z`; None for a run of its own."""

    @property
    def finished(self) -> bool:
        """True if its sessions are done."""
        return self.state in ("finished", "not scored")


def runs_of(project: Project, dataset: str) -> Iterator[BaselinePaths]:
    """Yield the files of every run of `dataset` that has a folder, oldest first."""
    folder = project.baselines / dataset
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            key = BaselineKey.of(dataset, entry.name)
        except InputError:
            continue  # no run: the history's picture, say, or notes
        yield BaselinePaths.of(project, key)


def list_runs(project: Project, dataset: str, *, now: datetime | None = None) -> list[RunSummary]:
    """Return every run of `dataset` that has a folder, oldest first."""
    now = now or datetime.now(timezone.utc)
    runs = sorted(runs_of(project, dataset), key=_made_by)
    figures = {paths.key: _figures(paths) for paths in runs if paths.finished}
    samples = samples_of(each for each in figures.values() if each)
    return [_summary(paths, now, figures.get(paths.key), samples) for paths in runs]


def _made_by(paths: BaselinePaths) -> tuple[datetime, str]:
    newest = paths.sessions if paths.finished else paths.folder
    return paths.key.run.made_by(newest.stat().st_mtime_ns if newest.exists() else time.time_ns())


def _figures(paths: BaselinePaths) -> RunFigures | None:
    """Return the figures of a finished run; None where it is not scored."""
    from crm_assets.reporting.metrics import read_metrics  # noqa: PLC0415  (heavy)

    try:
        return RunFigures.of(read_metrics(paths.metrics))
    except InputError:
        return None


def _summary(
    paths: BaselinePaths, now: datetime, figures: RunFigures | None, samples: Mapping[Sample, str]
) -> RunSummary:
    age = now - paths.key.run.started
    if figures is None:
        return RunSummary(paths.key, "not scored" if paths.finished else _progress(paths), age)
    return RunSummary(
        paths.key,
        "finished",
        age,
        agent=figures.who,
        sample=samples[figures.sample],
        conversations=figures.size,
        strict_success=percent(figures.strict_success),
        reward=figures.reward.mean,
        cost_usd=figures.cost_usd,
        recorded_cost_usd=figures.recorded_cost_usd,
        repeats=figures.origin.label if figures.origin else None,
    )


def _progress(paths: BaselinePaths) -> RunState:
    if not paths.tasks.is_file():
        return "empty"
    if not paths.partial.is_file():
        return "tasks only"
    return f"{_lines(paths.partial)} of {_lines(paths.tasks)} sessions"


def _lines(path: Path) -> int:
    with path.open("rb") as handle:
        return sum(1 for _ in handle)
