"""The leaderboard of a dataset."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import dagster as dg

from crm_assets.defs.assets.baseline_history import HISTORY_GROUP
from crm_assets.defs.assets.baseline_metrics import baseline_metrics
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.partitions import DATASET_PARTITIONS, RUNS_OF_DATASET
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import OWNERS, expected_errors, file_result, tags
from crm_assets.reporting.formats import counted, dollars, interval, number, percent
from crm_assets.reporting.leaderboard.board import dataset_board
from crm_assets.reporting.leaderboard.files import write_board
from crm_assets.reporting.leaderboard.models import Board
from crm_assets.reporting.leaderboard.page import board_document
from crm_assets.reporting.markdown import render
from crm_assets.reporting.plots import markdown_image

__all__ = ["leaderboard"]


@dg.asset(
    group_name=HISTORY_GROUP,
    owners=OWNERS,
    tags=tags("leaderboard"),
    partitions_def=DATASET_PARTITIONS,
    deps=[dg.AssetDep(baseline_metrics, partition_mapping=RUNS_OF_DATASET)],
    code_version="1",
    kinds={"json", "markdown", "html"},
)
def leaderboard(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """The systems that ran on a dataset, ranked only where they can be told apart: a page and figures.

    A system is agent, models, configuration and code; its runs are pooled. Rates with intervals, paired
    differences adjusted by Holm's method, cost and seconds beside them. `crm-assets leaderboard` makes the
    same, also over several datasets.
    """
    with expected_errors():
        board = dataset_board(artifacts.project, context.partition_key)
        paths, drawing = write_board(artifacts.project, board)
    tell(context, f"{counted(len(board.systems), 'system')} on {context.partition_key}")
    picture = dg.MetadataValue.md(markdown_image(drawing.png, drawing.caption)) if drawing else None
    return file_result(
        artifacts.project,
        paths.document,
        {
            "headline": _headline(board),
            "table": _table(board),
            "systems": dg.MetadataValue.md(
                "\n".join(f"- {system.label}: {system.name}" for system in board.systems)
            ),
            "cost_beside_quality": picture,
            "page": dg.MetadataValue.md(render(board_document(board))),
            "report": dg.MetadataValue.path(str(paths.report)),
        },
    )


def _headline(board: Board) -> str:
    """Return who leads in at most 60 characters: the UI cuts what is longer."""
    first, all_of_them = sum(each.rank == 1 for each in board.systems), len(board.systems)
    on = counted(board.conversations, "conversation")
    if all_of_them == 1:
        return f"1 system on {on}: nothing to compare"
    leads = f"{board.systems[0].label} leads" if first == 1 else f"{first:,} share rank 1"
    return f"{leads}, of {all_of_them:,} systems on {on}"


def _table(board: Board) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "rank": "–" if system.rank is None else str(system.rank),
                    "system": system.label,
                    "success": percent(system.strict_success),
                    "interval": interval(system.strict_success),
                    "better_than": ", ".join(system.better_than),
                    "cost": dollars(system.cost_usd),
                    "seconds": number(system.seconds, 1),
                }
            )
            for system in board.systems
        ]
    )
