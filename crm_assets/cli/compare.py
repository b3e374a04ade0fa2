"""`crm-assets compare`: two baselines of a dataset, conversation by conversation."""

from __future__ import annotations

from pathlib import Path

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

__all__ = ["compare"]


@click.command()
@click.argument("dataset", type=DATASET)
@click.argument("run_a", type=RUN)
@click.argument("run_b", type=RUN)
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
    run_a: str,
    run_b: str,
    html: Path | None,
    as_json: bool,
    intersection: bool,
    seed: int,
    resamples: int,
) -> None:
    """Compare two runs of a dataset.

    Only conversations that both ran are compared. Every difference is B − A. RUN_A and RUN_B are
    run keys, starts of them, or latest.
    """
    project = find_project()
    a, b = (find_finished(project, dataset, run) for run in (run_a, run_b))

    from crm_assets.reporting.comparison import compare_baselines, comparison_blocks, render_page

    found = compare_baselines(a, b, intersection=intersection, seed=seed, resamples=resamples)
    if html is not None:
        from crm_assets.workspace.files import write_text

        write_text(html, render_page(found))
    if as_json:
        print_json(found)
    else:
        from crm_assets.reporting.terminal import show

        show(*comparison_blocks(found))
    if html is not None:
        click.echo(f"Page: {relative(html)}", err=as_json)
