"""`crm-assets label`: what people say of a baseline's sessions, beside what the judges say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

if TYPE_CHECKING:
    from crm_assets.reporting.labels.store import Unit

__all__ = ["label"]


@click.group()
def label() -> None:
    """Let people label a baseline's sessions, and see who agrees."""


@label.command(name="export")
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="CSV file to write.",
)
@click.option(
    "--unit",
    type=click.Choice(["session", "turn"]),
    default="session",
    show_default=True,
    help="What a row is.",
)
@click.option("--sample", type=click.IntRange(min=1), help="Draw so many sessions at random; default all.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draw.")
@click.option("--overwrite", is_flag=True, help="Replace the file, with the labels that it may hold.")
def export_command(
    *, dataset: str, run: str, output: Path, unit: Unit, sample: int | None, seed: int, overwrite: bool
) -> None:
    """Write sessions or turns as CSV, without any verdict.

    Fill the column label with yes, no or unsure, and import the file.
    """
    paths = _baseline(dataset, run)

    from crm_assets.reporting.labels import export_labels

    rows = export_labels(paths, output, unit=unit, sample=sample, seed=seed, overwrite=overwrite)
    click.echo(f"{rows:,} rows to label: {relative(output.absolute())}")


@label.command(name="import")
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Let the file's labels replace different ones.")
def import_command(*, dataset: str, run: str, file: Path, replace: bool) -> None:
    """Take the labels of a CSV file; all of them or none."""
    project, paths = find_project(), _baseline(dataset, run)

    from crm_assets.database import a_command, hold
    from crm_assets.reporting.labels import import_labels

    with hold(project, paths.folder, a_command()):
        done = import_labels(paths, file, replace=replace)
    click.echo(
        f"{done.labels:,} labels ({done.new:,} new, {done.changed:,} changed); {done.empty:,} rows without "
        f"one. Stored in {relative(paths.labels)}"
    )
    _show(paths)


@label.command(name="show")
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@json_option
def show_command(*, dataset: str, run: str, as_json: bool) -> None:
    """Show who agrees with people's labels, with intervals."""
    paths = _baseline(dataset, run)
    if not as_json:
        _show(paths)
        return

    from crm_assets.reporting.labels import label_figures

    print_json(label_figures(paths))


def _baseline(dataset: str, run: str) -> BaselinePaths:
    return find_finished(find_project(), dataset, run)


def _show(paths: BaselinePaths) -> None:
    from crm_assets.reporting import read_metrics
    from crm_assets.reporting.labels import label_blocks, label_figures
    from crm_assets.reporting.terminal import show

    judges = read_metrics(paths.metrics).judges if paths.metrics.exists() else None
    show(*label_blocks(label_figures(paths), judges))
