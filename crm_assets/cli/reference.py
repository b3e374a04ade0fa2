"""`crm-assets reference`: the run of a dataset that later runs are held against."""

from __future__ import annotations

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import DATASET, RUN
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

__all__ = ["reference"]


@click.group()
def reference() -> None:
    """Pin the run that other runs are held against.

    One for each dataset; `crm-assets gate` compares with it. It is kept beside the dataset's runs, in
    reference.json.
    """


@reference.command("set")
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.option("--author", help="Who chooses; by default git's user.name, else your login.")
def set_command(*, dataset: str, run: str, author: str | None) -> None:
    """Make a finished run the reference of its dataset."""
    from crm_assets.workspace.notes import author_here
    from crm_assets.workspace.reference import set_reference

    project = find_project()
    paths = find_finished(project, dataset, run)
    found = set_reference(project, paths, author=author or author_here(project.root))
    click.echo(f"Reference of {dataset}: {found.run}")


@reference.command()
@click.argument("dataset", type=DATASET)
@json_option
def show(*, dataset: str, as_json: bool) -> None:
    """Show the reference of a dataset."""
    from crm_assets.workspace.reference import read_reference

    found = read_reference(find_project(), dataset)
    if as_json:
        print_json(found)
    elif found is None:
        click.echo(f"Dataset {dataset} has no reference; set one: crm-assets reference set {dataset} RUN")
    else:
        click.echo(f"Reference of {dataset}: {found.run} (set {found.set_at} by {found.set_by})")


@reference.command()
@click.argument("dataset", type=DATASET)
def clear(*, dataset: str) -> None:
    """Remove the reference of a dataset; the run stays as it is."""
    from crm_assets.workspace.reference import clear_reference

    removed = clear_reference(find_project(), dataset)
    click.echo(f"Dataset {dataset} {'has no reference any more' if removed else 'had no reference'}.")
