"""The history of a dataset's baselines."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

from collections.abc import Mapping
from typing import Any

import dagster as dg

from crm_assets.defs.assets.baseline_metrics import baseline_metrics
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.partitions import DATASET_PARTITIONS, RUNS_OF_DATASET
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import OWNERS, expected_errors, file_result, tags
from crm_assets.reporting.comparison import Comparison, brief, render_markdown
from crm_assets.reporting.formats import NOTHING, counted
from crm_assets.reporting.history import History, HistoryPaths, HistoryRun, update_history
from crm_assets.reporting.history.page import RUN_COLUMNS, notes_table, run_cells, what_changed
from crm_assets.reporting.markdown import render_blocks
from crm_assets.reporting.plots import markdown_image
from crm_assets.reporting.run_figures import Sample, samples_of

__all__ = ["HISTORY_GROUP", "baseline_history"]

HISTORY_GROUP = "history"
"""Not the group of the lineage: Dagster runs a group as one only if all of it has the same partitions."""

_ROWS = 50  # of the table in the metadata; all are in the file


@dg.asset(
    group_name=HISTORY_GROUP,
    owners=OWNERS,
    tags=tags("history"),
    partitions_def=DATASET_PARTITIONS,
    deps=[dg.AssetDep(baseline_metrics, partition_mapping=RUNS_OF_DATASET)],
    code_version="2",
    kinds={"json", "markdown"},
)
def baseline_history(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """All finished baselines of a dataset: one table, one picture, and what changed from run to run.

    The newest run is compared with the one before, conversation by conversation. `history.json`,
    `HISTORY.md`, `plots/progression.svg`, beside the baselines. It shows whether the runs got better, and
    since when. Updated after each baseline; runs without figures are named, not left out.
    """
    dataset = context.partition_key
    with expected_errors():
        history, drawing, newest = update_history(artifacts.project, dataset)
    paths = HistoryPaths.of(artifacts.project, dataset)
    tell(context, f"{counted(len(history.runs), 'finished run')} of {dataset}")
    picture = dg.MetadataValue.md(markdown_image(drawing.png, drawing.caption)) if drawing else None
    return file_result(
        artifacts.project,
        paths.document,
        {
            "runs": len(history.runs),
            **_newest(newest),
            **_latest(history),
            "table": _table(history),
            "progression": picture,
            **_notes(history),
            "page": dg.MetadataValue.path(str(paths.page)),
        },
    )


def _latest(history: History) -> dict[str, Any]:
    """Return the newest run's figures, for Dagster to plot."""
    figures = next((run.figures for run in reversed(history.runs) if run.figures), None)
    if figures is None:
        return {}
    return {
        "strict_success": figures.strict_success.value,
        "state_match": figures.state_match.value,
        "reward_mean": figures.reward.mean,
        "tokens": figures.tokens,
        "cost_usd": figures.cost_usd,
    }


def _newest(newest: Comparison | str | None) -> dict[str, Any]:
    """Return the comparison of the newest run with the one before."""
    if newest is None:
        return {}
    if isinstance(newest, str):
        return {"newest_vs_before": newest}
    return {
        "newest_vs_before": brief(newest),
        "comparison": dg.MetadataValue.md(render_markdown(newest)),
    }


def _notes(history: History) -> dict[str, Any]:
    """Return what people noted of the runs, if anything."""
    table = notes_table(history.runs)
    return {"notes": dg.MetadataValue.md(render_blocks([table]))} if table else {}


def _table(history: History) -> dg.TableMetadataValue | None:
    if not history.runs:
        return None
    samples = samples_of(run.figures for run in history.runs if run.figures)
    return dg.MetadataValue.table(records=[_row(run, samples) for run in reversed(history.runs[-_ROWS:])])


def _row(run: HistoryRun, samples: Mapping[Sample, str]) -> dg.TableRecord:
    """Return a run's row of the page's table, in fewer columns and the figures first: room is scarce."""
    cells = {
        column.name: str(NOTHING if cell is None else cell)
        for column, cell in zip(RUN_COLUMNS, run_cells(run, samples), strict=True)
    }
    interval, rate = cells["95% interval"], cells["Strict success"]
    return dg.TableRecord(
        {
            "run": cells["Run"],
            "strict_success": rate if interval == NOTHING else f"{rate} ({interval})",
            "n": cells["Conversations"],
            "sample": cells["Sample"],
            "state_match": cells["State match"],
            "reward": cells["Reward"],
            "cost": cells["Cost"],
            "mode": cells["Mode"],
            "agent": cells["Agent"],
            "changed": what_changed(run),
        }
    )
