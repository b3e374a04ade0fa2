"""`crm-assets runs note`: remarks and tags of a run."""

from __future__ import annotations

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import DATASET, RUN
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_run

__all__ = ["note"]


@click.command()
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.argument("text", default="")
@click.option("--tag", multiple=True, metavar="TAG", help="Tag to add; may be repeated.")
@click.option("--untag", multiple=True, metavar="TAG", help="Tag to remove; may be repeated.")
@click.option("--author", help="Who writes; by default git's user.name, else your login.")
@json_option
def note(
    *,
    dataset: str,
    run: str,
    text: str,
    tag: tuple[str, ...],
    untag: tuple[str, ...],
    author: str | None,
    as_json: bool,
) -> None:
    """Add a note or tags to a run, and show all of its notes.

    They are kept beside the run's files, in notes.jsonl; a finished baseline stays as it is.
    """
    from crm_assets.workspace.notes import add_note, author_here

    project = find_project()
    paths = BaselinePaths.of(project, find_run(project, dataset, run))
    found = add_note(paths, text, tag=tag, untag=untag, author=author or author_here(project.root))
    if text or tag or untag:
        from crm_assets.reporting.history import HistoryPaths, update_history

        if HistoryPaths.of(project, dataset).document.is_file():
            update_history(project, dataset)
    if as_json:
        print_json({"run": str(paths.key.run), "tags": found.tags, "notes": found.notes})
        return
    click.echo(f"{paths.key.run}: {', '.join(found.tags) or 'no tags'}")
    for line in found.notes:
        click.echo(f"  {line.at}  {line.author}: {line.text}")
