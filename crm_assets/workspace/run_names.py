"""Run names for people: a run's key, the start of one, or `latest`."""

from __future__ import annotations

import time
from datetime import datetime

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, runs_of
from crm_assets.workspace.files import stamp_of
from crm_assets.workspace.keys import BaselineKey, RunKey, has_form_of_key, is_run_key, parse_dataset
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import status_of

__all__ = ["LATEST", "find_finished", "find_run", "in_order"]

LATEST = "latest"
_MOST_NAMED = 5


def in_order(project: Project, dataset: str) -> list[BaselinePaths]:
    """Return the runs of `dataset`, oldest first.

    A key in the future counts from when its files were made: it would stay the newest for ever.
    """
    return sorted(runs_of(project, dataset), key=_made)


def _made(paths: BaselinePaths) -> tuple[datetime, str]:
    made = paths.stamp("sessions.jsonl") or stamp_of(paths.folder)
    return paths.key.run.made_by(made.modified_ns if made else time.time_ns())


def find_run(project: Project, dataset: str, name: str) -> BaselineKey:
    """Return the run that `name` names; a whole key need not exist, since it may name a new run.

    Args:
        project: where the runs are.
        dataset: of the run.
        name: a run key, the start of the key of exactly one run, or `latest`, the newest run.

    Raises:
        InputError: no run is named so, or several are.
    """
    parse_dataset(dataset)
    return _named(project, dataset, name, in_order(project, dataset), may_be_new=True).key


def find_finished(project: Project, dataset: str, name: str) -> BaselinePaths:
    """Return the finished baseline that `name` names.

    Args:
        project: where the baselines are.
        dataset: of the baseline.
        name: as for `find_run`; `latest` is the newest finished one.

    Raises:
        InputError: no run is named so, several are, or it is not finished; the message names its state and
            the newest finished runs.
    """
    parse_dataset(dataset)
    known = in_order(project, dataset)
    finished = [paths for paths in known if paths.finished]
    paths = _named(
        project, dataset, name, (finished or known) if name == LATEST else known, may_be_new=False
    )
    if paths.finished:
        return paths
    status = status_of(paths)
    keys = ", ".join(str(each.key.run) for each in finished[-_MOST_NAMED:])
    others = f"choose one of {keys}" if finished else "there are no finished runs yet"
    raise InputError(
        f"Run {paths.key.run} of dataset {dataset} is missing or not finished "
        f"({status.state.value}): {others}, or complete it with `{status.command}`."
    )


def _named(
    project: Project, dataset: str, name: str, known: list[BaselinePaths], *, may_be_new: bool
) -> BaselinePaths:
    """Return the run of `known` (oldest first) that `name` names, or the new one whose key it is."""
    if name == LATEST:
        if not known:
            command = f"crm-assets baseline --dataset {dataset}"
            raise InputError(f"Dataset {dataset} has no run yet; make one with `{command}`.")
        return known[-1]
    found = [paths for paths in known if name and str(paths.key.run).startswith(name)]
    exact = [paths for paths in found if str(paths.key.run) == name]
    if exact:
        return exact[0]
    if is_run_key(name) and (may_be_new or not found):
        return BaselinePaths.of(project, BaselineKey.of(dataset, name))
    if not found:
        if has_form_of_key(name):
            RunKey.parse(name)  # says what is wrong with its time
        raise InputError(
            f"{name!r} is not a run key, nor the start of one of dataset {dataset}: give a key that "
            f"`crm-assets runs list` shows, its start, or {LATEST!r}. A new key is a UTC time as in "
            "'20260131T093000Z', or '20260131T093000Z-trial' with a label."
        )
    if len(found) > 1:
        keys = ", ".join(str(paths.key.run) for paths in found[-_MOST_NAMED:])
        more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
        raise InputError(f"{len(found):,} runs begin with {name!r}: {keys}{more}; give more of the key.")
    return found[0]
