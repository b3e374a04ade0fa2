"""Finds the baseline that a ledger or a results file belongs to, so that a repetition says whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crm_assets.records import RUN_NAME, ReplayedRun
from crm_assets.workspace.baseline_files import (
    BaselinePaths,
    baseline_at,
    datasets_with_runs,
    finished_runs,
    sidecar_of,
)
from crm_assets.workspace.files import read_json, sha256_of_file
from crm_assets.workspace.project import Project

__all__ = ["replayed_run", "rescored_run"]


def replayed_run(project: Project, ledger: Path) -> ReplayedRun:
    """Return the run that wrote `ledger`; of a replay's ledger, the run that called the models.

    Raises:
        InputError: the run's facts cannot be read.
    """
    return _run_of(project, ledger, baseline_at(project, ledger.parent))


def rescored_run(project: Project, results: Path) -> ReplayedRun | None:
    """Return the finished baseline whose session log `results` is, or is a copy of; None for another file.

    Raises:
        InputError: the run's facts cannot be read.
    """
    size, sha256 = results.stat().st_size, ""
    for paths in _all_finished(project):
        made = paths.stamp("sessions.jsonl")
        if made is not None and made.bytes == size:
            sha256 = sha256 or sha256_of_file(results)
            if sha256_of_file(paths.sessions) == sha256:
                return _run_of(project, paths.sessions, paths)
    return None


def _all_finished(project: Project) -> Iterator[BaselinePaths]:
    for dataset in datasets_with_runs(project):
        yield from finished_runs(project, dataset)


def _run_of(project: Project, file: Path, paths: BaselinePaths | None) -> ReplayedRun:
    earlier = _replayed_by(file.parent)
    if earlier is not None:
        return earlier
    return ReplayedRun(
        dataset=paths.key.dataset if paths else None,
        run=str(paths.key.run) if paths else None,
        file=project.relative(file),
        sha256=sha256_of_file(file),
    )


def _replayed_by(folder: Path) -> ReplayedRun | None:
    """Return what the run in `folder` itself repeats."""
    finished = folder / RUN_NAME
    facts = finished if finished.is_file() else sidecar_of(folder / "sessions.jsonl.partial")
    said = read_json(facts).get("replay_of") if facts.is_file() else None
    return None if said is None else ReplayedRun.model_validate(said)
