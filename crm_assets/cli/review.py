"""`crm-assets review`: sessions that wait for approval, and what approval lets them teach."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import dataset_option, run_option
from crm_assets.cli.playbook import telemetry
from crm_assets.errors import InputError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_run

if TYPE_CHECKING:
    from crm_assets.atlas.telemetry.reviews import Decision, ReviewedSession

__all__ = ["review"]

_STATUSES = ("pending", "approved", "quarantined", "all")


_Command = TypeVar("_Command", bound=Callable[..., None])


def _of_sessions(command: _Command) -> _Command:
    """Give a command the arguments that name the sessions to decide on."""
    for parameter in (
        click.option("--note", help="Why, for the record."),
        run_option(help="All pending sessions of this run; needs --dataset."),
        dataset_option(required=False, help="All pending sessions of this dataset."),
        click.argument("sessions", nargs=-1, type=int),
    ):
        command = parameter(command)
    return command


@click.group()
def review() -> None:
    """Approve or reject what sessions taught.

    It reaches a playbook only once the session is approved.
    """


@review.command(name="list")
@dataset_option(required=False, help="Only sessions of this dataset.")
@run_option(help="Only sessions of this run; needs --dataset.")
@click.option(
    "--status", type=click.Choice(_STATUSES), default="pending", show_default=True, help="Review status."
)
@json_option
def list_(*, dataset: str | None, run: str | None, status: str, as_json: bool) -> None:
    """List sessions by their review status."""
    from crm_assets.atlas.telemetry.reviews import list_sessions
    from crm_assets.workspace.identity import known_project_id

    wanted = None if status == "all" else status
    project = find_project()
    with telemetry(project) as connection:
        found = list_sessions(
            connection,
            project=known_project_id(project),
            status=wanted,
            dataset=dataset,
            run_id=_run_id(dataset, run),
        )
    if as_json:
        print_json([session._asdict() for session in found])
    elif not found:
        click.echo(f"No session is {status}." if wanted else "There are no sessions.")
    else:
        _print(found)


@review.command()
@_of_sessions
def approve(*, sessions: tuple[int, ...], dataset: str | None, run: str | None, note: str | None) -> None:
    """Approve sessions, by ID or all of a run.

    What they taught is merged into its playbook.
    """
    _decide("approved", sessions, dataset, run, note)


@review.command()
@_of_sessions
def reject(*, sessions: tuple[int, ...], dataset: str | None, run: str | None, note: str | None) -> None:
    """Reject sessions, by ID or all of a run.

    What they taught stays out of every playbook.
    """
    _decide("quarantined", sessions, dataset, run, note)


def _decide(
    decision: Decision, sessions: tuple[int, ...], dataset: str | None, run: str | None, note: str | None
) -> None:
    """Decide on the sessions that a user names.

    Raises:
        InputError: none is named, or they are named in two ways, or one does not exist.
    """
    from crm_assets.atlas.telemetry.reviews import decide, list_sessions
    from crm_assets.workspace.identity import known_project_id

    if bool(sessions) == (dataset is not None):
        raise InputError(
            "Name sessions by their IDs (crm-assets review list), or a --dataset with or without --run."
        )
    project = find_project()
    with telemetry(project) as connection:
        own = partial(list_sessions, connection, project=known_project_id(project))
        pending = own(status="pending", dataset=dataset, run_id=_run_id(dataset, run))
        ids = sessions or tuple(session.id for session in pending)
        already = [session.id for session in own(status=decision) if session.id in ids]
        merged = decide(connection, [each for each in ids if each not in already], decision, note)
    word = "approved" if decision == "approved" else "rejected"
    taught = f"; {merged:,} of them taught something, which is in their playbooks now" if merged else ""
    before = f" ({len(already):,} had been before)" if already else ""
    click.echo(f"{len(ids):,} session{'' if len(ids) == 1 else 's'} {word}{before}{taught}.")


def _run_id(dataset: str | None, run: str | None) -> str | None:
    if run is None:
        return None
    if dataset is None:
        raise InputError("--run needs the --dataset of the run.")
    return find_run(find_project(), dataset, run).run_id


def _print(found: list[ReviewedSession]) -> None:
    from crm_assets.reporting.document import Column, Section, Table, figures
    from crm_assets.reporting.formats import number
    from crm_assets.reporting.terminal import show

    columns = (
        *figures("Session"),
        *map(Column, ("Dataset", "Conversation", "Status")),
        *figures("Reward", "Entries"),
        Column("Note", wide=True),
    )
    rows = (
        (
            session.id,
            session.dataset,
            session.conversation_id,
            session.status,
            number(session.reward, 3),
            session.entries,
            session.notes,
        )
        for session in found
    )
    show(Section(f"{len(found):,} sessions", (Table.of(columns, rows),)))
