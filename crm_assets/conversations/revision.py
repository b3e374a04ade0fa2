"""The revision of a dataset file: its content's hash, and its git state."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.conversations.lines import DatasetReader
from crm_assets.errors import InputError
from crm_assets.workspace.git import ask_git
from crm_assets.workspace.project import find_project

__all__ = ["DatasetRevision", "read_revision", "read_revision_file"]


class DatasetRevision(BaseModel):
    """Identity of a dataset: its content, then its origin."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    dataset: str
    """Name of the dataset."""
    path: str
    """Path of the file; relative to the project if it is inside."""
    sha256: str
    """Hex SHA-256 of the file's content: the revision itself."""
    bytes: int
    """Size of the file."""
    conversations: int
    """Number of lines that are not blank."""
    git_commit: str | None = None
    """HEAD of the file's repository; None outside of one, and for a file that is not in it."""
    git_dirty: bool | None = None
    """True if the file differs from that commit."""
    mtime: str | None = None
    """Time of the file's last change (UTC), if there is no commit."""


def read_revision(path: Path | str, dataset: str, *, root: Path | None = None) -> DatasetRevision:
    """Return the current revision of the dataset file at `path`.

    Args:
        path: the dataset's file.
        dataset: its name.
        root: the folder that the recorded path is relative to; None for the current project's root.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    file = Path(path).resolve()
    reader = DatasetReader(file)
    for _ in reader.lines():
        pass
    base = (root or find_project().root).resolve()
    commit, dirty = _git_state(file)
    return DatasetRevision(
        dataset=dataset,
        path=(file.relative_to(base) if file.is_relative_to(base) else file).as_posix(),
        sha256=reader.sha256,
        bytes=reader.size,
        conversations=reader.conversations,
        git_commit=commit,
        git_dirty=dirty,
        mtime=None if commit else _modified(file),
    )


def read_revision_file(path: Path) -> DatasetRevision:
    """Return the revision in a baseline's `revision.json`.

    Raises:
        InputError: the file is missing or is not a revision.
    """
    try:
        return DatasetRevision.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: materialize dataset_revision of this partition first."
        ) from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not a dataset revision: materialize dataset_revision again."
        ) from error


def _git_state(file: Path) -> tuple[str | None, bool | None]:
    commit = ask_git(file.parent, "rev-parse", "--verify", "HEAD^{commit}")
    if commit is None or ask_git(file.parent, "cat-file", "-e", f"HEAD:./{file.name}") is None:
        return None, None  # of a file that was never committed, no commit says what it is
    status = ask_git(file.parent, "status", "--porcelain=v1", "--", f":(literal){file.name}")
    return commit, None if status is None else bool(status)


def _modified(file: Path) -> str:
    modified = datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc)
    return modified.isoformat(timespec="seconds").replace("+00:00", "Z")
