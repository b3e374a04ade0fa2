"""`crm-assets view`: transcripts in Inspect's viewer."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from crm_assets.cli.names import DATASET, RUN
from crm_assets.cli.ui import port_is_free
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import LATEST, find_finished
from crm_assets.workspace.transcripts import VIEW_PORT, viewer_place

__all__ = ["view"]


@click.command()
@click.argument("dataset", type=DATASET, required=False)
@click.argument("runs", type=RUN, nargs=-1)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=VIEW_PORT,
    show_default=True,
    help="Port on 127.0.0.1; links in pages and in Dagster's UI lead to the usual one.",
)
@click.option(
    "--browser/--no-browser", default=None, help="Open a browser; left out, if a person would see it."
)
def view(*, dataset: str | None, runs: tuple[str, ...], port: int, browser: bool | None) -> None:
    """Show transcripts in Inspect's viewer on 127.0.0.1.

    RUNS are run keys, starts of them, or latest; left out, the newest finished run. Of several, all
    others are compared with the first one: the metadata `flip` says which conversations came out
    differently. Without a DATASET all runs are linked. Ctrl-C ends it.
    """
    project = find_project()
    if not port_is_free(port):
        raise InputError(f"Port {port} is in use: stop what listens there or choose --port.")
    names = runs or ((LATEST,) if dataset else ())
    found = [find_finished(project, dataset or "", name) for name in names]

    from crm_assets.exports.viewer import ShownRun, serve

    shown = [ShownRun(paths, against=found[0] if number else None) for number, paths in enumerate(found)]

    def started(address: str) -> None:
        path = f"/{dataset}/" if dataset else "/"
        if len(shown) == 1:
            path += viewer_place(shown[0].log)
        click.echo(f"Transcripts: {address}{path} (Ctrl-C ends it)")
        if browser or (browser is None and _a_person_watches()):
            click.launch(f"{address}{path}")

    def say(line: str) -> None:
        click.echo(line, err=True)

    try:
        asyncio.run(serve(project, shown, port=port, say=say, on_start=started))
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


def _a_person_watches() -> bool:
    has_screen = sys.platform == "darwin" or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and has_screen
