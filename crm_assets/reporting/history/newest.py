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
    """Compare the newest run that measured all of its results itself with the last one of its sample.

    Returns:
        The comparison; a sentence why it is not possible; or None with fewer than two such runs.
    """
    runs = [(run.run, run.figures) for run in history.samples if run.figures is not None]
    if not runs[1:]:
        return None
    (*earlier, (newest, figures)) = runs
    same = [run for run, each in earlier if each.sample == figures.sample]
    before, last = earlier[-1]
    if not same and last.dataset_revision == figures.dataset_revision:
        difference = last.sample.differences(figures.sample)
        return f"Run {newest} is not compared with {before}, the run before: {difference}."
    a, b = (
        BaselinePaths.of(project, BaselineKey.of(history.dataset, run))
        for run in (same[-1] if same else before, newest)
    )
    try:
        return compare_baselines(a, b)
    except InputError as error:
        return plain(str(error))
