"""The identity of a project: made once, and kept beside its baselines in `artifacts/project.json`.

Several projects may share a Postgres, and have baselines of the same dataset and run key there. The file is
not committed, `make clean` keeps it, and it goes where the baselines go: a copy of them keeps its records.
"""

from __future__ import annotations

from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InfrastructureError, InputError, first_line
from crm_assets.workspace.files import json_line
from crm_assets.workspace.jsonl import open_locked
from crm_assets.workspace.project import Project

__all__ = ["known_project_id", "project_id"]


class _Identity(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    project: str


def known_project_id(project: Project) -> str | None:
    """Return the identity of a project; None if it has not been made yet.

    Raises:
        InputError: its file is damaged.
    """
    try:
        content = project.identity.read_bytes()
        return _Identity.model_validate(orjson.loads(content)).project if content else None
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, orjson.JSONDecodeError) as error:
        raise InputError(
            f"{project.identity} does not hold the project's identity ({first_line(error)}): put it back, "
            "or remove it to have a new one made."
        ) from error


def project_id(project: Project) -> str:
    """Return the identity of a project; make it if it is missing. Processes that ask together get the same.

    Raises:
        InputError: its file is damaged.
        InfrastructureError: the disk refused.
    """
    if known := known_project_id(project):
        return known
    try:
        with open_locked(project.identity, wait=True) as handle:
            if (known := known_project_id(project)) is None:  # no other process was quicker
                known = uuid4().hex
                handle.write(json_line({"project": known}))
            return known
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {project.identity}: {error.strerror or error}; free some space or correct "
            "the permissions."
        ) from error
