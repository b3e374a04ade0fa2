"""The command line: `crm-assets`.

One module per command, each thin; what is heavy is imported inside the command that needs it, so that
`crm-assets --help` answers at once.
"""

from __future__ import annotations

import signal
from typing import Any

import click

from crm_assets import __version__
from crm_assets.cli.agents import agents
from crm_assets.cli.atlas import atlas
from crm_assets.cli.backfill import backfill
from crm_assets.cli.baseline import baseline
from crm_assets.cli.cluster import cluster
from crm_assets.cli.common import show_transfers
from crm_assets.cli.compare import compare
from crm_assets.cli.datasets import datasets
from crm_assets.cli.db import db
from crm_assets.cli.doctor import doctor
from crm_assets.cli.export import export
from crm_assets.cli.gate import gate
from crm_assets.cli.going_on import name_next_command
from crm_assets.cli.harness import harness
from crm_assets.cli.import_run import import_command
from crm_assets.cli.init import init
from crm_assets.cli.label import label
from crm_assets.cli.leaderboard import leaderboard
from crm_assets.cli.lineage import lineage
from crm_assets.cli.note import note
from crm_assets.cli.offline_server import offline_server
from crm_assets.cli.partitions import partitions
from crm_assets.cli.playbook import playbook
from crm_assets.cli.reference import reference
from crm_assets.cli.review import review
from crm_assets.cli.runs import runs
from crm_assets.cli.show import show
from crm_assets.cli.study import study
from crm_assets.cli.sweep import sweep
from crm_assets.cli.tasks import tasks
from crm_assets.cli.tools import tools
from crm_assets.cli.ui import ui
from crm_assets.cli.view import view
from crm_assets.errors import CrmAssetsError

__all__ = ["cli", "main"]

_INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


class _Group(click.Group):
    """A group whose expected errors are one sentence on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CrmAssetsError as error:
            click.echo(f"Error: {error}", err=True)
            name_next_command(ctx, error)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as error:
            click.echo("Stopped.", err=True)
            name_next_command(ctx, error)
            ctx.exit(_INTERRUPTED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crm-assets")
def cli() -> None:
    """Baselines you can trust for LLM agents on CRM work."""


for _command in (
    init,
    baseline,
    backfill,
    runs,
    atlas,
    agents,
    compare,
    reference,
    gate,
    study,
    sweep,
    leaderboard,
    playbook,
    review,
    lineage,
    show,
    view,
    export,
    label,
    tasks,
    harness,
    datasets,
    tools,
    offline_server,
    partitions,
    doctor,
    cluster,
    ui,
    db,
):
    cli.add_command(_command)
runs.add_command(import_command)
runs.add_command(note)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    show_transfers()
    cli()
