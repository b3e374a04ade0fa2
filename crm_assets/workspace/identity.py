"""The identity of a project: made once, and kept beside its baselines in `artifacts/project.json`.

Several projects may share a Postgres, and have baselines of the same dataset and run key there. The file is
not committed, `make clean` keeps it, and it goes where the baselines go: a copy of them keeps its records.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import ConfigError, InfrastructureError, InputError, first_line
from crm_assets.workspace.files import atomic_writer, json_line
from crm_assets.workspace.project import ARTIFACTS_VARIABLE, Project
from crm_assets.workspace.stored import stored_artifacts

__all__ = ["known_project_id", "project_id"]


class _Identity(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    project: str


def known_project_id(project: Project) -> str | None:
    """Return the identity of a project; None if it has not been made yet.

    Raises:
        InputError: its file is damaged.
    """
    if (copies := stored_artifacts(project)) and not copies.agree_on(project.identity):
        raise ConfigError(
            f"{copies.store.url} belongs to another project than {project.identity} says: name another "
            f"folder in {ARTIFACTS_VARIABLE}, or move that file away to work on the other project."
        )
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
    with _alone(project.identity.parent):
        if (known := known_project_id(project)) is None:  # no other process was quicker
            known = uuid4().hex
            with atomic_writer(project.identity) as handle:
                handle.write(json_line({"project": known}))
            if (copies := stored_artifacts(project)) and not copies.agree_on(project.identity):
                project.identity.unlink()  # another machine was quicker
                known = known_project_id(project) or known
        return known


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a folder, which is made if it is missing, against others that write the same file there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InfrastructureError(
            f"Could not use {folder}: {error.strerror or error}; free some space or correct its rights."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
