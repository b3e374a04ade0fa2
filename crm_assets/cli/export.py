"""`crm-assets export`: runs in the formats of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from crm_assets.cli.common import counting, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

__all__ = ["export"]


@click.group()
def export() -> None:
    """Write runs in the formats of other tools."""


@export.command("inspect")
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, .eval; left out, DATASET-RUN.eval in the current folder.",
)
def inspect_command(*, dataset: str, run: str, output: Path | None) -> None:
    """Write a run as a log of Inspect (.eval).

    Its viewer and its data frames read it.

    RUN is a run's key, the start of it, or latest. Needs `pip install 'crm-assets[inspect]'`.
    """
    paths = find_finished(find_project(), dataset, run)
    target = output or Path.cwd() / f"{dataset}-{paths.key.run}.eval"
    if target.suffix != ".eval":
        raise click.BadParameter("Inspect knows its logs by the ending .eval.", param_hint="--output")

    from crm_assets.exports.inspect_log import write_inspect_log

    with counting("Export") as progress:
        samples = write_inspect_log(paths, target, progress=progress)
    click.echo(f"{samples:,} samples: {relative(target)}")
