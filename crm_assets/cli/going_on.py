"""Names the command that resumes a run that was stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.errors import ConfigError, InputError

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["command_of", "flags_of", "name_next_command", "set_next_command"]

_NEXT = "crm_assets.next_command"


def set_next_command(command: Callable[[], str | None]) -> None:
    """Let an error or Ctrl-C from here on end with the command that goes on; None for none."""
    click.get_current_context().meta[_NEXT] = command


def name_next_command(context: click.Context, error: BaseException) -> None:
    """Print the command that goes on after `error`; bad input is to be corrected instead."""
    command: Callable[[], str | None] | None = context.meta.get(_NEXT)
    bad_input = isinstance(error, InputError) and not isinstance(error, ConfigError)
    if command is not None and not bad_input and (line := command()) is not None:
        click.echo(f"Go on with: {line}", err=True)


def command_of(paths: BaselinePaths, plan: SessionPlan, *, limit: int | None = None) -> str | None:
    """Return the command that goes on with a run; None where there is nothing to go on with.

    Options are named as long as the run has not recorded them.
    """
    from crm_assets.atlas.saved_plan import saved_plan
    from crm_assets.workspace.states import status_of, upload_command

    # As it is here: a store may be what failed.
    paths, stored = replace(paths, store=None), paths.store is not None
    if not paths.folder.exists():
        return None
    status = status_of(paths)
    if status.command is None:
        return upload_command(paths) if stored else None
    words = [status.command]
    if not paths.imported.exists() and not paths.has_sessions and saved_plan(paths) is None:
        words += [shlex.quote(word) for word in flags_of(plan, limit=limit)]
    return " ".join(words)


def flags_of(plan: SessionPlan, *, limit: int | None = None) -> list[str]:
    """Return the words that give a command this plan and limit; defaults are left out."""
    from crm_assets.atlas.plan import plan_fields

    words = [] if limit is None else ["--limit", str(limit)]
    for field in plan_fields():
        value = getattr(plan, field.name)
        if value != field.default:
            flag = field.use.flags[0] if field.use.flags else f"--{field.name.replace('_', '-')}"
            words += [flag, _short(value)]
    return words


def _short(value: object) -> str:
    here = Path.cwd()
    if isinstance(value, Path) and value.is_relative_to(here):
        return str(value.relative_to(here))
    return str(value)
