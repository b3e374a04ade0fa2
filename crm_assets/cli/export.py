"""`crm-assets export`: runs in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import counting, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.cli.playbook import telemetry
from crm_assets.workspace.baseline_files import finished_runs
from crm_assets.workspace.keys import parse_dataset
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.run_names import find_finished

if TYPE_CHECKING:
    from crm_assets.exports.training_attempts import Reviews
    from crm_assets.exports.training_rows import Format

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
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder to write for any web server instead: the viewer, its logs, and the report with links.",
)
@click.option(
    "--against",
    type=RUN,
    metavar="RUN",
    help="A run to compare with: the metadata `flip` says gained, lost or same.",
)
def inspect_command(
    *, dataset: str, run: str, output: Path | None, bundle: Path | None, against: str | None
) -> None:
    """Write a run as a log of Inspect (.eval).

    Its viewer and its data frames read it.

    RUN is a run's key, the start of it, or latest. Needs `pip install 'crm-assets[inspect]'`.
    """
    if bundle is not None and output is not None:
        raise click.UsageError("--bundle writes a folder, --output a file: choose one of them.")
    project = find_project()
    paths = find_finished(project, dataset, run)
    base = find_finished(project, dataset, against) if against else None
    if bundle is not None:
        from crm_assets.exports.bundle import write_bundle

        with counting("Export") as progress:
            samples = write_bundle(paths, bundle, against=base, progress=progress)
        click.echo(f"{samples:,} samples: {relative(bundle)}")
        click.echo(f"To look at it here: python -m http.server --directory {relative(bundle)} (a browser")
        click.echo("reads no logs from files), then http://127.0.0.1:8000/report.html")
        return
    target = output or Path.cwd() / f"{dataset}-{paths.key.run}.eval"
    if target.suffix != ".eval":
        raise click.BadParameter("Inspect knows its logs by the ending .eval.", param_hint="--output")

    from crm_assets.exports.inspect_log import write_inspect_log

    with counting("Export") as progress:
        samples = write_inspect_log(paths, target, against=base, progress=progress)
    click.echo(f"{samples:,} samples: {relative(target)}")


@export.command("training")
@click.argument("dataset", type=DATASET)
@click.argument("runs", type=RUN, nargs=-1, metavar="[RUN]...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("chat", "preference", "rewards")),
    default="chat",
    show_default=True,
    help="Chats, better and worse attempts, or sessions with their rewards.",
)
@click.option(
    "--split",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the conversations to export, as crm-assets study splits them; 1 holds nothing out but "
    "what studies of the dataset do.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the split.")
@click.option("--include-failures", is_flag=True, help="In chats, sessions without strict success, too.")
@click.option(
    "--review",
    type=click.Choice(("approved", "any")),
    default="approved",
    show_default=True,
    help="Only sessions that are approved or need no review, or any.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write; left out, DATASET-FORMAT in the current folder.",
)
def training_command(
    *,
    dataset: str,
    runs: tuple[str, ...],
    format_: Format,
    split: float,
    seed: int,
    include_failures: bool,
    review: str,
    output: Path | None,
) -> None:
    """Write runs as training data.

    Hugging Face datasets and TRL load the folder as it is. Conversations that are held out are never in it.
    Without RUN, all finished runs of models are exported. Needs `pip install 'crm-assets[training]'`.
    """
    from crm_assets.conversations.split import Split
    from crm_assets.exports.training import export_training
    from crm_assets.exports.training_rows import TrainingOptions
    from crm_assets.reporting.formats import counted

    project = find_project()
    chosen = [find_finished(project, dataset, run) for run in dict.fromkeys(runs)]
    target = output or Path.cwd() / f"{dataset}-{format_}"
    options = TrainingOptions(
        format=format_,
        split=None if split == 1 else Split(share=split, seed=seed),
        include_failures=include_failures,
        approved_only=review == "approved",
    )
    with _reviews(project) as reviews, counting("Export") as progress:
        done = export_training(
            project,
            dataset,
            chosen or list(finished_runs(project, parse_dataset(dataset))),
            target,
            options,
            named=bool(chosen),
            reviews=reviews,
            progress=progress,
        )
    for sentence in done.runs_left_out:
        click.echo(sentence, err=True)
    if done.held_out:
        verb = "is" if done.held_out == 1 else "are"
        click.echo(f"{counted(done.held_out, 'conversation')} {verb} held out and not exported.", err=True)
    for what, count in done.left_out.most_common():
        click.echo(f"Left out: {count:,} {what}.", err=True)
    click.echo(f"{counted(done.rows, 'row')}: {relative(target)}")


@contextmanager
def _reviews(project: Project) -> Iterator[Callable[[str], Reviews]]:
    """Yield what reads the review statuses of a run from the telemetry database, by its ID."""
    from crm_assets.atlas.telemetry.reviews import review_statuses
    from crm_assets.workspace.identity import known_project_id

    with telemetry(project) as connection:
        yield lambda run_id: review_statuses(connection, project=known_project_id(project), run_id=run_id)
