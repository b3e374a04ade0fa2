"""Reads the baselines of a dataset into its history; unchanged files are not read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from crm_assets.errors import InputError
from crm_assets.reporting import read_metrics
from crm_assets.reporting.comparison import Comparison, compare_facts, read_facts
from crm_assets.reporting.formats import plain
from crm_assets.reporting.history.models import FileStamp, History, HistoryRun, Scalar
from crm_assets.reporting.history.newest import compare_newest
from crm_assets.reporting.history.page import render_history
from crm_assets.reporting.history.paths import HistoryPaths
from crm_assets.reporting.plots import Drawing, draw_progression, write_pictures
from crm_assets.reporting.run_figures import RunFigures
from crm_assets.reporting.smoke_runs import smoke_runs
from crm_assets.workspace.baseline_files import BaselinePaths, prefetch, runs_of
from crm_assets.workspace.files import write_json, write_text
from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.notes import read_notes
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import publish, stored_artifacts

__all__ = ["HistoryUpdate", "read_history", "run_entry", "update_history"]


class HistoryUpdate(NamedTuple):
    """A history that was written, and what its page shows with it."""

    history: History
    picture: Drawing | None
    """The progression; None without a run that has figures."""
    newest: Comparison | str | None
    """The newest run compared with the one before: see `compare_newest`."""


def update_history(project: Project, dataset: str) -> HistoryUpdate:
    """Write the history of `dataset` again.

    Raises:
        InfrastructureError: the disk refused.
    """
    paths = HistoryPaths.of(project, dataset)
    history = read_history(project, dataset)
    drawings = draw_progression({run.run: run.figures for run in history.samples if run.figures})
    pictures = write_pictures(paths.plots, drawings)
    newest = compare_newest(project, history)
    smoke = smoke_runs(project, dataset)
    write_text(paths.page, render_history(history, pictures[0] if pictures else None, newest, smoke))
    write_json(paths.document, history.model_dump(mode="json"))
    files = (paths.page, paths.document, *sorted(paths.plots.glob("*")))
    publish(project, paths.folder, *(each.relative_to(paths.folder).as_posix() for each in files))
    return HistoryUpdate(history, drawings[0] if drawings else None, newest)


def read_history(project: Project, dataset: str) -> History:
    """Return the history of `dataset`; of runs in the last history.json, only changed files are read."""
    known = _known(project, HistoryPaths.of(project, dataset))
    done = [paths for paths in runs_of(project, dataset) if paths.has_sessions]
    prefetch(done)
    runs = [_noted(paths, run_entry(paths, known.get(str(paths.key.run)))) for paths in done]
    runs.sort(key=lambda run: RunKey.parse(run.run).made_by(run.sessions.modified_ns))
    return History(dataset=dataset, runs=tuple(_with_changes(runs)))


def _noted(paths: BaselinePaths, run: HistoryRun) -> HistoryRun:
    found = read_notes(paths)
    return run.model_copy(update={"tags": found.tags, "notes": found.notes})


def run_entry(paths: BaselinePaths, known: HistoryRun | None = None) -> HistoryRun:
    """Return a finished baseline's entry, without what changed since the run before.

    Args:
        paths: its files.
        known: its last entry, which is returned if the files are the same.
    """
    sessions, metrics = _stamp(paths, "sessions.jsonl"), _stamp(paths, "metrics.json")
    assert sessions is not None, paths.key
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


def _known(project: Project, paths: HistoryPaths) -> Mapping[str, HistoryRun]:
    """Return the last history's runs by key; none if it is broken or of another version."""
    if copies := stored_artifacts(project):
        copies.bring(paths.document)
    try:
        history = History.model_validate_json(paths.document.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return {run.run: run for run in history.runs}


def _stamp(paths: BaselinePaths, name: str) -> FileStamp | None:
    stamp = paths.stamp(name)
    return None if stamp is None else FileStamp(bytes=stamp.bytes, modified_ns=stamp.modified_ns)


def _figures(paths: BaselinePaths) -> tuple[RunFigures | None, str | None]:
    """Return the run's figures, or why there are none: one bad file must not hide the other runs."""
    if not paths.is_scored:
        return None, "metrics.json is missing; run the job 'rescore' on it."
    try:
        return RunFigures.of(read_metrics(paths.metrics)), None
    except InputError as error:
        return None, plain(str(error))


def _with_changes(runs: Iterable[HistoryRun]) -> Iterable[HistoryRun]:
    before: HistoryRun | None = None
    for run in runs:
        changes = () if before is None else compare_facts(before.facts, run.facts)
        yield run.model_copy(update={"changes": changes})
        repeats = run.figures is not None and run.figures.origin is not None
        if run.facts and not repeats:
            before = run
