"""Which data exactly: the revision of a dataset file."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from crm_assets.conversations.lines import DatasetReader
from crm_assets.workspace.git import ask_git
from crm_assets.workspace.project import find_project

__all__ = ["DatasetRevision", "read_revision"]


class DatasetRevision(BaseModel):
    """Identity of a dataset: its content first, then where it came from."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    dataset: str
    """Name of the dataset."""
    path: str
    """The file, relative to the project where it lies inside it."""
    sha256: str
    """Hex SHA-256 of the file's content: the revision itself."""
    bytes: int
    """Size of the file."""
    conversations: int
    """Lines that hold a conversation."""
    git_commit: str | None = None
    """HEAD of the repository that the file lies in."""
    git_dirty: bool | None = None
    """Whether this very file differs from that commit (changed, or not in it at all)."""
    mtime: str | None = None
    """When the file was last changed (UTC), where there is no git to ask."""


def read_revision(path: Path | str, dataset: str, *, root: Path | None = None) -> DatasetRevision:
    """The revision of the dataset file at `path`, as it is now.

    Args:
        path: the dataset's file.
        dataset: its name.
        root: what the recorded path is relative to; the current project's root when None.

    Raises:
        InputError: the file is not there or cannot be read.
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


def _git_state(file: Path) -> tuple[str | None, bool | None]:
    commit = ask_git(file.parent, "rev-parse", "--verify", "HEAD^{commit}")
    if commit is None:
        return None, None
    status = ask_git(
        file.parent,
        "status",
        "--porcelain=v1",
        "--untracked-files=all",
        "--ignored=matching",  # an ignored file is not in the commit either
        "--",
        f":(literal){file.name}",
    )
    return commit, None if status is None else bool(status)


def _modified(file: Path) -> str:
    modified = datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc)
    return modified.isoformat(timespec="seconds").replace("+00:00", "Z")
