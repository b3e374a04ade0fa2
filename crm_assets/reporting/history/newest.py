"""The newest run of a dataset, compared with the one before it."""

from __future__ import annotations

from crm_assets.errors import InputError
from crm_assets.reporting.comparison import Comparison, compare_baselines
from crm_assets.reporting.formats import plain
from crm_assets.reporting.history.models import History
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

__all__ = ["compare_newest"]


def compare_newest(project: Project, history: History) -> Comparison | str | None:
    """Compare the newest run with figures with the one before, of those that are samples of their own.

    Returns:
        The comparison; a sentence why it is not possible; or None with fewer than two such runs.
    """
    runs = [run.run for run in history.samples]
    if not runs[1:]:
        return None
    before, newest = (BaselinePaths.of(project, BaselineKey.of(history.dataset, run)) for run in runs[-2:])
    try:
        return compare_baselines(before, newest)
    except InputError as error:
        return plain(str(error))
