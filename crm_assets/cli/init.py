"""`crm-assets init`: a new project."""

from __future__ import annotations

from pathlib import Path

import click

from crm_assets.cli.common import relative
from crm_assets.workspace.project import Project

__all__ = ["init"]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Make FOLDER a project, by default the current one.

    Writes configurations, workspace.yaml, Dagster's settings and the datasets dev and demo; files that are
    there are kept.
    """
    from crm_assets.workspace.new_project import lay_out

    project = Project(folder.resolve())
    for path in lay_out(project):
        click.echo(relative(path))
    there = "" if project.root == Path.cwd().resolve() else f"cd {folder} && "
    click.echo(f"Next: {there}crm-assets baseline --dataset dev", err=True)
