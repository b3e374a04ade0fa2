"""The pinned reference of a dataset: the run that later runs are held against."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InfrastructureError, InputError, first_line
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file, write_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import publish, stored_artifacts

__all__ = ["Reference", "clear_reference", "read_reference", "reference_run", "set_reference"]


class Reference(BaseModel):
    """The document reference.json, beside the runs of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    run: str
    """Key of the run."""
    sessions_sha256: str
    """Hex SHA-256 of its sessions.jsonl: made again, it is another run."""
    set_at: str
    """When it was chosen: ISO 8601, UTC."""
    set_by: str
    """Who chose it."""


def reference_file(project: Project, dataset: str) -> Path:
    """Return the file of a dataset's reference."""
    return project.baselines / dataset / "reference.json"


def read_reference(project: Project, dataset: str) -> Reference | None:
    """Return the reference of `dataset`; None if there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = reference_file(project, dataset)
    if copies := stored_artifacts(project):
        copies.bring(path)
    try:
        return Reference.model_validate_json(path.read_bytes()) if path.is_file() else None
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} is not a reference ({first_line(error)}): "
            f"set it again with `crm-assets reference set {dataset} RUN`."
        ) from error


def set_reference(project: Project, paths: BaselinePaths, *, author: str) -> Reference:
    """Make a finished run the reference of its dataset, in place of the one before.

    Raises:
        InputError: the run is not finished.
        InfrastructureError: the disk refused; the reference is the one before.
    """
    if not paths.finished:
        raise InputError(
            f"Run {paths.key.run} is not finished: finish it before you make it the reference."
        )
    reference = Reference(
        run=str(paths.key.run),
        sessions_sha256=sha256_of_file(paths.sessions),
        set_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        set_by=author,
    )
    path = reference_file(project, paths.key.dataset)
    write_json(path, reference.model_dump(mode="json"))
    publish(project, path.parent, path.name)
    return reference


def clear_reference(project: Project, dataset: str) -> bool:
    """Remove the reference of `dataset`; return False if there was none.

    Raises:
        InfrastructureError: the disk refused.
    """
    path = reference_file(project, dataset)
    if copies := stored_artifacts(project):
        copies.bring(path)
        copies.remove(path)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InfrastructureError(f"Could not remove {path}: {error.strerror or error}.") from error
    return True


def reference_run(project: Project, dataset: str) -> BaselinePaths | None:
    """Return the finished run that is the reference of `dataset`; None if there is none.

    Raises:
        InputError: the run is gone, or was made again since it was chosen.
    """
    reference = read_reference(project, dataset)
    if reference is None:
        return None
    paths = BaselinePaths.of(project, BaselineKey.of(dataset, reference.run))
    changed = "is missing or not finished"
    if paths.finished:
        if sha256_of_file(paths.sessions) == reference.sessions_sha256:
            return paths
        changed = "was made again since it was chosen"
    raise InputError(
        f"Run {reference.run}, the reference of dataset {dataset}, {changed}: choose one with "
        f"`crm-assets reference set {dataset} RUN`."
    )
