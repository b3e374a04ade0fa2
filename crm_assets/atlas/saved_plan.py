"""plan.json: the options that a run began with, for whatever goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.atlas.plan import SessionPlan
from crm_assets.errors import InputError, first_line
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json
from crm_assets.workspace.project import Project

__all__ = [
    "SavedPlan",
    "begun_plan",
    "limit_to_go_on_with",
    "plan_to_go_on_with",
    "save_plan",
    "saved_plan",
]

_MAY_DIFFER = frozenset({"concurrency", "workers", "budget_usd", "budget_tokens"})


class SavedPlan(BaseModel):
    """The document plan.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    sessions: SessionPlan
    """The options that are not at their defaults; paths in the project are relative to its folder."""
    limit: int | None = None
    """Number of conversations, if not all; once sessions have begun, the tasks say it."""
    sweep: str | None = None
    """The sweep that planned the run; None for a run of its own."""

    def document(self) -> dict[str, Any]:
        """Return the document as it is written: what is not at its default."""
        return {
            "schema_version": self.schema_version,
            "sessions": self.sessions.model_dump(mode="json", exclude_defaults=True),
            **self.model_dump(mode="json", exclude_defaults=True, exclude={"schema_version", "sessions"}),
        }


def save_plan(
    project: Project,
    paths: BaselinePaths,
    plan: SessionPlan,
    *,
    limit: int | None = None,
    sweep: str | None = None,
) -> None:
    """Write the plan of a run whose sessions have not begun; it stays a run of the sweep that it was of.

    Raises:
        InfrastructureError: the disk refused.
    """
    if sweep is None and (before := saved_plan(paths)) is not None:
        sweep = before.sweep
    saved = SavedPlan(sessions=_in_project(project, plan), limit=limit, sweep=sweep)
    write_json(paths.plan, saved.document())


def begun_plan(paths: BaselinePaths) -> SessionPlan | None:
    """Return the plan that a run's sessions began with; None if none has begun, or it is not recorded.

    Raises:
        InputError: plan.json is damaged.
    """
    saved = saved_plan(paths) if paths.begun else None
    return None if saved is None else saved.sessions


def saved_plan(paths: BaselinePaths) -> SavedPlan | None:
    """Return what a run was asked for, whether or not its sessions have begun; None if it is not recorded.

    Raises:
        InputError: plan.json is damaged.
    """
    if not paths.plan.is_file():
        return None
    try:
        return SavedPlan.model_validate_json(paths.plan.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{paths.plan} is not a plan ({first_line(error)}): remove it, and give the run's options."
        ) from error


def plan_to_go_on_with(
    project: Project, paths: BaselinePaths, plan: SessionPlan, given: Mapping[str, Any]
) -> SessionPlan:
    """Return the plan that a run began with, and what was given now; if it has not begun, `plan`.

    Args:
        project: where the run is.
        paths: its files.
        plan: for a run that has not begun.
        given: the options that were given now: once sessions have begun, how much and how fast may differ,
            nothing else.

    Raises:
        InputError: another option differs.
    """
    saved = saved_plan(paths)
    if saved is None:
        return plan
    begun = saved.sessions
    now = _in_project(project, SessionPlan(**{**dict(begun), **given}))
    for name in SessionPlan.model_fields if paths.begun else ():
        then, wanted = getattr(begun, name), getattr(now, name)
        if then != wanted and name not in _MAY_DIFFER:
            raise InputError(
                f"Run {paths.key.run} cannot go on: {name} was {_show(then)} and is now {_show(wanted)}; "
                "leave the option out, or start a new run."
            )
    return now


def limit_to_go_on_with(paths: BaselinePaths, given: int | None) -> int | None:
    """Return the limit that was given now, or that a run had which has not begun its sessions.

    Raises:
        InputError: plan.json is damaged.
    """
    if given is not None or paths.begun or (saved := saved_plan(paths)) is None:
        return given
    return saved.limit


def _in_project(project: Project, plan: SessionPlan) -> SessionPlan:
    """Return `plan` with paths in the project relative to its folder."""
    inside = {
        name: value.relative_to(project.root)
        for name, value in plan
        if isinstance(value, Path) and value.is_relative_to(project.root)
    }
    return plan.model_copy(update=inside)


def _show(value: object) -> str:
    return "not set" if value is None else str(value)
