"""`crm-assets show`: the sessions of a baseline, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import DATASET, ROLE, RUN
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

if TYPE_CHECKING:
    from crm_assets.llm import Role

__all__ = ["show"]


@click.command()
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.argument("conversation", required=False)
@click.option(
    "--epoch", type=click.IntRange(min=1), help="Epoch of the session, from 1; left out, the first."
)
@click.option(
    "--requests", "requests", is_flag=True, help="What the models were asked in the session, word for word."
)
@click.option(
    "--role", type=ROLE, help="Only requests to this role: student, teacher, judge, …; implies --requests."
)
@click.option("--failed", is_flag=True, help="Only sessions without strict success.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Maximum number of sessions to list.",
)
@json_option
def show(
    *,
    dataset: str,
    run: str,
    conversation: str | None,
    epoch: int | None,
    requests: bool,
    role: Role | None,
    failed: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List a baseline's sessions, or show one turn by turn.

    RUN is a run's key, the start of it, or latest; CONVERSATION is an ID, or the start of one if it is
    unique.
    """
    project = find_project()
    paths = find_finished(project, dataset, run)
    sessions, requests = paths.sessions, requests or role is not None
    if conversation is None and epoch is not None:
        raise InputError("--epoch needs a CONVERSATION.")
    if conversation is None and requests:
        raise InputError("--requests and --role need a CONVERSATION.")

    from crm_assets.reporting.sessions_view import (
        find_session,
        list_sessions,
        session_blocks,
        sessions_blocks,
    )
    from crm_assets.reporting.terminal import show as print_blocks

    if conversation is not None:
        found = find_session(sessions, conversation, epoch)
        if requests:
            from crm_assets.reporting.sessions_view.requests import (
                request_blocks,
                request_document,
                requests_of,
            )

            asked = requests_of(paths, found.session, role)
            if as_json:
                print_json([request_document(request) for request in asked])
            else:
                print_blocks(*request_blocks(asked))
        elif as_json:
            print_json(found.session)
        else:
            print_blocks(*session_blocks(found))
        return
    listed = list_sessions(sessions, limit=limit, failed=failed)
    if as_json:
        print_json([row.facts() for row in listed.rows])
    else:
        print_blocks(*sessions_blocks(sessions, listed, failed=failed))
