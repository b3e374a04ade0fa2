"""Reads the baselines of a dataset into its history; what has not changed is not read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from crm_assets.errors import InputError
from crm_assets.reporting import Metrics, read_metrics
from crm_assets.reporting.comparison import Comparison, compare_facts, read_facts
from crm_assets.reporting.formats import plain
from crm_assets.reporting.history.models import FileStamp, History, HistoryRun, RunFigures, Scalar
from crm_assets.reporting.history.newest import compare_newest
from crm_assets.reporting.history.page import render_history
from crm_assets.reporting.history.paths import HistoryPaths
from crm_assets.reporting.plots import Drawing, Pictures, draw, run_point, write_pictures
from crm_assets.workspace.baseline_files import BaselinePaths, finished_runs
from crm_assets.workspace.files import write_json, write_text
from crm_assets.workspace.project import Project

__all__ = ["HistoryUpdate", "read_history", "run_entry", "update_history"]


class HistoryUpdate(NamedTuple):
    """A history that was written, and what is shown beside it."""

    history: History
    picture: Drawing | None
    """The progression; None where there is no run to show."""
    newest: Comparison | str | None
    """The newest run against the one before: see `compare_newest`."""


def update_history(project: Project, dataset: str) -> HistoryUpdate:
    """Write the history of `dataset` anew.

    Raises:
        InfrastructureError: the disk refused.
    """
    paths = HistoryPaths.of(project, dataset)
    history = read_history(project, dataset)
    points = [point for run in history.runs if (point := run.point()) is not None]
    drawings = draw(Pictures(runs=tuple(points)))
    pictures = write_pictures(paths.plots, drawings)
    newest = compare_newest(project, history)
    write_text(paths.page, render_history(history, pictures[0] if pictures else None, newest))
    write_json(paths.document, history.model_dump(mode="json"))
    return HistoryUpdate(history, drawings[0] if drawings else None, newest)


def read_history(project: Project, dataset: str) -> History:
    """The history of `dataset`; of runs that the last history.json knows, only what changed is read."""
    known = _known(HistoryPaths.of(project, dataset))
    runs = [run_entry(paths, known.get(str(paths.key.run))) for paths in finished_runs(project, dataset)]
    return History(dataset=dataset, runs=tuple(_with_changes(runs)))


def run_entry(paths: BaselinePaths, known: HistoryRun | None = None) -> HistoryRun:
    """A finished baseline's entry, without what changed since the run before.

    Args:
        paths: its files.
        known: its entry as it was, to be taken over where the files are the same.
    """
    sessions = _stamp(paths.sessions)
    metrics = _stamp(paths.metrics) if paths.metrics.is_file() else None
    if (
        known is not None
        and known.problem is None
        and (known.metrics, known.sessions) == (metrics, sessions)
    ):
        return known
    figures, problem = _figures(paths)
    facts: dict[str, Scalar] = {}
    if known is not None and known.facts and known.sessions == sessions:
        facts = known.facts
    elif problem is None:
        facts = read_facts(paths.sessions)
    if figures is not None:
        facts = {"dataset_revision": figures.dataset_revision, **facts}
    return HistoryRun(
        run=str(paths.key.run),
        metrics=metrics,
        sessions=sessions,
        figures=figures,
        problem=problem,
        facts=facts,
    )


def _known(paths: HistoryPaths) -> Mapping[str, HistoryRun]:
    """What the last history knew; nothing if it is of another version or broken: it is made anew."""
    try:
        history = History.model_validate_json(paths.document.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return {run.run: run for run in history.runs}


def _stamp(path: Path) -> FileStamp:
    stat = path.stat()
    return FileStamp(bytes=stat.st_size, modified_ns=stat.st_mtime_ns)


def _figures(paths: BaselinePaths) -> tuple[RunFigures | None, str | None]:
    """The run's figures, or why there are none; one bad file must not hide the other runs."""
    if not paths.metrics.is_file():
        return None, "It has no metrics.json: run the job 'rescore' on it."
    try:
        return _of(read_metrics(paths.metrics), paths), None
    except InputError as error:
        return None, plain(str(error))


def _of(metrics: Metrics, paths: BaselinePaths) -> RunFigures:
    agent = metrics.agent_config or {}
    tokens = [role.total_tokens for role in metrics.token_usage.values()]
    return RunFigures(
        run_id=metrics.run_id,
        agent=agent.get("name"),
        model=agent.get("model"),
        mode=run_point(str(paths.key.run), metrics).mode,
        dataset_revision=metrics.dataset_revision,
        conversations=metrics.total_conversations,
        without_verdict=metrics.strict_success_bounds.missing if metrics.strict_success_bounds else 0,
        strict_success=metrics.strict_success,
        state_match=metrics.state_match,
        reward=metrics.reward_summary,
        tokens=sum(tokens) if tokens else None,
        cost_usd=metrics.total_cost_usd,
    )


def _with_changes(runs: Iterable[HistoryRun]) -> Iterable[HistoryRun]:
    before: HistoryRun | None = None
    for run in runs:
        changes = () if before is None else compare_facts(before.facts, run.facts)
        yield run.model_copy(update={"changes": changes})
        if run.facts:
            before = run
