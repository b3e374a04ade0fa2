"""`crm-assets compare`: baselines of a dataset, conversation by conversation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

if TYPE_CHECKING:
    from crm_assets.reporting.comparison import Comparison, RunMatrix

__all__ = ["compare"]


@click.command()
@click.argument("dataset", type=DATASET)
@click.argument("runs", type=RUN, nargs=-1, required=True, metavar="RUN RUN [RUN]...")
@click.option("--html", type=click.Path(path_type=Path), help="HTML file to write the whole comparison to.")
@json_option
@click.option(
    "--intersection",
    is_flag=True,
    help="If the dataset changed between the runs, compare only the unchanged conversations.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the resampling."
)
@click.option(
    "--resamples",
    type=click.IntRange(min=100, max=1_000_000),
    default=10_000,
    show_default=True,
    help="Number of resamples for each interval and each p-value that is not exact.",
)
def compare(
    *,
    dataset: str,
    runs: tuple[str, ...],
    html: Path | None,
    as_json: bool,
    intersection: bool,
    seed: int,
    resamples: int,
) -> None:
    """Compare two or more runs of a dataset.

    Only conversations that all of them ran are compared. Of two runs, every difference is the second one
    minus the first; of more, each is compared with each. A run is named by its key, the start of it, or
    latest.
    """
    if not runs[1:]:
        raise InputError("Name two or more runs to compare.")
    project = find_project()
    paths = [find_finished(project, dataset, run) for run in runs]

    from crm_assets.reporting import comparison

    options = _Options(intersection=intersection, seed=seed, resamples=resamples)
    found: Comparison | RunMatrix
    if runs[2:]:
        found = comparison.compare_all(paths, **options)
        blocks, render = comparison.matrix_blocks(found), partial(comparison.render_matrix_page, found)
    else:
        found = comparison.compare_baselines(*paths, **options)
        blocks, render = comparison.comparison_blocks(found), partial(comparison.render_page, found)
    if html is not None:
        from crm_assets.workspace.files import write_text

        write_text(html, render())
    if as_json:
        print_json(found)
    else:
        from crm_assets.reporting.terminal import show

        show(*blocks)
        keys = " ".join(str(each.key.run) for each in paths)
        click.echo(f"\nTranscripts, with those that changed marked: crm-assets view {dataset} {keys}")
    if html is not None:
        click.echo(f"Page: {relative(html)}", err=as_json)


class _Options(TypedDict):
    intersection: bool
    seed: int
    resamples: int
