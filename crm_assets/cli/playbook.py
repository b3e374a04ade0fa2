"""`crm-assets playbook`: what sessions were taught, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_namespace
from crm_assets.workspace.project import Project, find_project

if TYPE_CHECKING:
    import psycopg

    from crm_assets.atlas.playbook import Playbook

__all__ = ["playbook"]

_NAMESPACE = click.option("--namespace", required=True, help="Whose playbook: a dataset's name, or shared.")


@click.group()
def playbook() -> None:
    """Show, compare, keep and reset what sessions were taught."""


@playbook.command()
@click.option("--namespace", help="Whose playbook, with its entries; left out, all in short.")
@json_option
def show(*, namespace: str | None, as_json: bool) -> None:
    """Show the playbooks by namespace and learning key."""
    from crm_assets.atlas.telemetry.learning import read_playbooks

    with telemetry(find_project()) as connection:
        known = read_playbooks(connection)
    found = known if namespace is None else {namespace: _of(known, parse_namespace(namespace))}
    if as_json:
        print_json(list(found.values()))
    elif not found:
        click.echo("No session has taught anything yet.")
    else:
        from crm_assets.reporting.playbook_view import playbook_blocks
        from crm_assets.reporting.terminal import show as print_blocks

        for each in found.values():
            print_blocks(*playbook_blocks(each, entries=namespace is not None))


@playbook.command()
@click.argument("before")
@click.argument("after")
@json_option
def diff(*, before: str, after: str, as_json: bool) -> None:
    """Show what differs between two playbooks.

    Each is a namespace (as it is now), a snapshot's file, or a baseline's playbook, as in
    dev/20260131T093000Z:before or dev/20260131T093000Z:after.
    """
    project = find_project()
    a, b = (_named(project, name) for name in (before, after))

    from crm_assets.reporting.playbook_view import difference_blocks, playbook_difference
    from crm_assets.reporting.terminal import show as print_blocks

    if as_json:
        print_json(playbook_difference(a, b))
    else:
        print_blocks(*difference_blocks(a, b))


@playbook.command()
@_NAMESPACE
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def snapshot(*, namespace: str, file: Path | None) -> None:
    """Write a playbook to a file.

    `reset --to FILE` brings it back.
    """
    from crm_assets.atlas.telemetry.learning import read_playbooks

    project = find_project()
    with telemetry(project) as connection:
        found = _of(read_playbooks(connection), parse_namespace(namespace))
    click.echo(f"Snapshot: {relative(_write(project, found, file))}")


@playbook.command()
@_NAMESPACE
@click.option(
    "--to",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Snapshot to go back to; left out, the playbook is emptied.",
)
@click.confirmation_option(
    "--yes", prompt="Replace the playbook? A snapshot of it is kept.", help="Do not ask."
)
def reset(*, namespace: str, source: Path | None) -> None:
    """Empty a playbook, or bring a snapshot back. What it held is written to a snapshot first."""
    from crm_assets.atlas.playbook import Playbook
    from crm_assets.atlas.telemetry.learning import read_playbooks, replace_playbook

    project, name = find_project(), parse_namespace(namespace)
    target = Playbook(namespace=name, keys={}) if source is None else _read(source)
    target = target.model_copy(update={"namespace": name})
    with telemetry(project) as connection:
        kept = _write(project, _of(read_playbooks(connection), name), None)
        replace_playbook(connection, target)
    click.echo(f"Playbook {name}: {target.entries:,} entries now. Before: {relative(kept)}")


@contextmanager
def telemetry(project: Project) -> Iterator[psycopg.Connection]:
    """Yield a connection to the project's telemetry database, with its tables up to date.

    Raises:
        InfrastructureError: it does not answer.
    """
    import psycopg

    from crm_assets.atlas.telemetry.schema import migrate
    from crm_assets.database import connect_creating, connect_databases
    from crm_assets.errors import InfrastructureError, last_line

    address = connect_databases(project).telemetry
    try:
        connection = connect_creating(
            address, lambda: psycopg.connect(address, autocommit=True, connect_timeout=10)
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"The telemetry database does not answer ({last_line(error)}); correct "
            "STORAGE__DATABASE_URL or start its server."
        ) from error
    with connection:
        migrate(connection)
        yield connection


def _of(known: dict[str, Playbook], namespace: str) -> Playbook:
    from crm_assets.atlas.playbook import Playbook

    return known.get(namespace) or Playbook(namespace=namespace, keys={})


def _named(project: Project, name: str) -> Playbook:
    """Return the playbook that a user names: a file, a baseline's, or a namespace's.

    Raises:
        InputError: there is none.
    """
    if Path(name).is_file():
        return _read(Path(name))
    if "/" in name:
        return _of_baseline(project, name)
    from crm_assets.atlas.telemetry.learning import read_playbooks

    with telemetry(project) as connection:
        return _of(read_playbooks(connection), parse_namespace(name))


def _of_baseline(project: Project, name: str) -> Playbook:
    from crm_assets.atlas.run_playbook import read_run_playbook
    from crm_assets.workspace.baseline_files import BaselinePaths
    from crm_assets.workspace.run_names import find_run

    key, _, when = name.partition(":")
    dataset, _, run = key.partition("/")
    paths = BaselinePaths.of(project, find_run(project, dataset, run))
    if when not in ("before", "after", ""):
        raise InputError(f"{name!r} names no playbook: end it with :before or :after.")
    if not paths.playbook.is_file():
        raise InputError(
            f"Baseline {paths.key} has no playbook.json: it used no playbook, or an older version made it."
        )
    document = read_run_playbook(paths)
    found = document.before if when == "before" else document.after
    if found is None:
        raise InputError(f"Baseline {paths.key} is not finished: compare with {key}:before.")
    return found


def _read(file: Path) -> Playbook:
    from pydantic import ValidationError

    from crm_assets.atlas.playbook import Playbook
    from crm_assets.errors import first_line

    try:
        return Playbook.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{file} is not a snapshot of a playbook ({first_line(error)}); name a file that "
            "`crm-assets playbook snapshot` wrote."
        ) from error


def _write(project: Project, found: Playbook, file: Path | None) -> Path:
    from crm_assets.workspace.files import write_json

    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
    target = file or project.playbooks / found.namespace / f"{now}.json"
    write_json(target, found.model_dump(mode="json"))
    return target
