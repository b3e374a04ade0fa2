"""`crm-assets leaderboard`: systems on a dataset, or over several, ranked where they can be told apart."""

from __future__ import annotations

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET
from crm_assets.errors import InputError
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import find_project

__all__ = ["leaderboard"]


@click.command()
@click.argument("datasets", nargs=-1, type=DATASET)
@json_option
def leaderboard(*, datasets: tuple[str, ...], as_json: bool) -> None:
    """Compare all systems that ran on a dataset.

    A system is agent, models, configuration and code; its runs are pooled. Of several DATASETS (left out:
    all with finished runs) the systems that ran on each of them are compared. Systems are ranked only where
    they can be told apart (docs/sweeps.md).
    """
    from crm_assets.reporting.leaderboard.board import dataset_board, overall_board
    from crm_assets.reporting.leaderboard.files import write_board
    from crm_assets.reporting.leaderboard.page import board_blocks
    from crm_assets.reporting.terminal import show
    from crm_assets.workspace.baseline_files import finished_runs
    from crm_assets.workspace.datasets import available_datasets

    project = find_project()
    named = list(dict.fromkeys(datasets))
    for name in named:
        if not (project.baselines / name).is_dir():  # runs outlive the file
            require_dataset(project, name)
    named = named or [name for name in available_datasets(project) if any(finished_runs(project, name))]
    if not named:
        raise InputError(
            "No dataset has a finished run yet; make one by crm-assets baseline --dataset dev."
        )
    board = dataset_board(project, named[0]) if len(named) == 1 else overall_board(project, named)
    paths, _ = write_board(project, board)
    if as_json:
        print_json(board)
    else:
        show(*board_blocks(board))
    click.echo(f"Page: {relative(paths.readme)}, {relative(paths.report)}", err=as_json)
