"""The states of a run: what its files say of it, what is missing, and the command that goes on.

| state | its files | what goes on makes |
| --- | --- | --- |
| planned | a folder without tasks | everything |
| tasks only | tasks.jsonl | sessions, metrics, README |
| under way | sessions.jsonl.partial | the sessions that have no verdict, then the rest |
| not scored | sessions.jsonl | metrics, README |
| not published | metrics.json, without README or manifest | metrics and README again |
| finished | manifest.json, which is written last | nothing: the baseline is protected |

With a store, a finished baseline may be here alone: then `runs upload` goes on.

The state is read from the files each time: nothing else remembers it, so a kill at any moment leaves one of
these. Revision, tasks and sessions are kept as soon as there is something made from them (`prepare`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["ONLY_HERE", "RunState", "RunStatus", "prepare", "status_of", "upload_command"]

ONLY_HERE = "not in the store yet"


class RunState(str, Enum):
    """The states, in their order; each value is the name that people read."""

    PLANNED = "planned"
    TASKS_ONLY = "tasks only"
    UNDER_WAY = "under way"
    NOT_SCORED = "not scored"
    NOT_PUBLISHED = "not published"
    FINISHED = "finished"


_NEXT_STAGE: dict[RunState, str | None] = {
    RunState.PLANNED: "dataset_revision",
    RunState.TASKS_ONLY: "dataset_revision",
    RunState.UNDER_WAY: "dataset_revision",  # checks that the dataset is still the same, and is kept
    RunState.NOT_SCORED: "atlas_sessions",  # is kept, and checked, which may not have happened yet
    RunState.NOT_PUBLISHED: "baseline_metrics",  # may not be recorded in Dagster yet
    RunState.FINISHED: None,
}


@dataclass(frozen=True)
class RunStatus:
    """The state of one run, and how it goes on."""

    state: RunState
    next_stage: str | None
    """The first stage of the lineage that is to be made; None for a finished baseline."""
    command: str | None
    """The command that goes on, to be run in the project's folder; None where nothing is missing."""
    note: str | None = None
    """Further facts about it."""


def status_of(paths: BaselinePaths) -> RunStatus:
    """Return the state of a run, by its files."""
    state = _state(paths)
    old = state is RunState.FINISHED and not paths.is_sealed
    return RunStatus(
        state,
        _NEXT_STAGE[state],
        _command(paths, state),
        "made by a version without manifests" if old else ONLY_HERE if paths.is_only_here else None,
    )


def _state(paths: BaselinePaths) -> RunState:
    if paths.finished:
        return RunState.FINISHED
    if paths.has_sessions:
        unmarked = paths.is_import and not paths.coverage.exists()
        scored = paths.is_scored and not unmarked
        return RunState.NOT_PUBLISHED if scored else RunState.NOT_SCORED
    if paths.is_under_way:
        return RunState.UNDER_WAY
    return RunState.TASKS_ONLY if paths.tasks.exists() else RunState.PLANNED


def upload_command(paths: BaselinePaths) -> str:
    """Return the command that uploads a run to the store."""
    return f"crm-assets runs upload {paths.key.dataset} {paths.key.run}"


def _command(paths: BaselinePaths, state: RunState) -> str | None:
    if state is RunState.FINISHED:
        return upload_command(paths) if paths.is_only_here else None
    where = f"--dataset {paths.key.dataset} --run {paths.key.run}"
    if paths.is_import:
        return f"crm-assets runs import {shlex.quote(str(paths.imported))} {where}"
    return f"crm-assets baseline {where}"


def prepare(paths: BaselinePaths, stage: Path, *, overwrite: bool) -> bool:
    """Prepare for writing `stage`, one of a baseline's files; return False if it is kept as it is.

    Revision and tasks are kept once sessions have begun, the sessions once they are done: what was paid
    for is neither lost nor made from something else.

    Raises:
        InputError: the baseline is finished and `overwrite` is False.
    """
    paths.protect(overwrite=overwrite)
    used = paths.has_sessions if stage == paths.sessions else paths.begun
    if used and stage.exists() and not overwrite:
        return False
    paths.begin(stage, overwrite=overwrite)
    return True
