"""`crm-assets show`: the sessions of a baseline, for people."""

from __future__ import annotations

import click

from crm_assets.errors import InputError
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import find_project
from crm_assets.workspace.states import require_finished

__all__ = ["show"]


@click.command()
@click.argument("dataset")
@click.argument("run")
@click.argument("conversation", required=False)
@click.option(
    "--epoch", type=click.IntRange(min=1), help="Epoch of the session, from 1; left out, the first."
)
@click.option("--failed", is_flag=True, help="Only sessions without strict success.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Maximum number of sessions to list.",
)
def show(
    *, dataset: str, run: str, conversation: str | None, epoch: int | None, failed: bool, limit: int
) -> None:
    """List a baseline's sessions, or show one turn by turn.

    CONVERSATION is an ID, or the start of one if it is unique.
    """
    project = find_project()
    key = BaselineKey.of(dataset, run)
    if conversation is None and epoch is not None:
        raise InputError("--epoch needs a CONVERSATION.")

    from crm_assets.reporting.sessions_view import find_session, session_blocks, sessions_blocks
    from crm_assets.reporting.terminal import show as print_blocks

    sessions = require_finished(project, key).sessions
    if conversation is None:
        print_blocks(*sessions_blocks(sessions, limit=limit, failed=failed))
    else:
        print_blocks(*session_blocks(find_session(sessions, conversation, epoch)))
