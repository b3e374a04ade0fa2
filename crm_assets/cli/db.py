"""`crm-assets db`: the project's Postgres."""

from __future__ import annotations

import click

from crm_assets.workspace.project import find_project

__all__ = ["db"]


@click.group()
def db() -> None:
    """Show or stop the project's Postgres."""


@db.command()
def status() -> None:
    """Print the server in use and whether it is running."""
    from crm_assets.database import ServerSettings, embedded_address, read_environment

    project = find_project()
    settings = ServerSettings.from_environment(read_environment(project))
    if settings.host is not None:
        click.echo(f"A server of your own: {settings.host}:{settings.port} (DB_HOST).")
    elif embedded_address(project) is None:
        click.echo("The embedded server is not running; it starts when it is needed.")
    else:
        click.echo(f"The embedded server is running: {embedded_address(project)}")


@db.command()
def stop() -> None:
    """Stop the embedded server; it starts again when it is needed."""
    from crm_assets.database import stop_embedded

    stopped = stop_embedded(find_project())
    click.echo("Stopped the embedded server." if stopped else "The embedded server is not running.")
