"""The runs of a dataset, finished or not, as their folders show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from crm_assets.errors import InputError
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
    return [_summary(paths, now) for paths in runs_of(project, dataset)]


def _summary(paths: BaselinePaths, now: datetime) -> RunSummary:
    age = now - paths.key.run.started
    if not paths.finished:
        return RunSummary(paths.key, _progress(paths), age)
    from crm_assets.reporting import read_metrics  # noqa: PLC0415  (nothing to read without metrics)
    from crm_assets.reporting.formats import percent  # noqa: PLC0415

    try:
        metrics = read_metrics(paths.metrics)
    except InputError:
        return RunSummary(paths.key, "not scored", age)
    agent = metrics.agent_config or {}
    model = f" ({agent['model']})" if agent.get("model") else ""
    return RunSummary(
        paths.key,
        "finished",
        age,
        agent=f"{agent.get('name') or 'unnamed'}{model}",
        strict_success=percent(metrics.strict_success),
        reward=metrics.reward_summary.mean,
        cost_usd=metrics.own_cost_usd,
        recorded_cost_usd=metrics.recorded_cost_usd,
        repeats=metrics.origin.label if metrics.origin else None,
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
