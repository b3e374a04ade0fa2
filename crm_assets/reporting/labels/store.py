"""labels.json: what people say of a baseline's sessions and turns."""

from __future__ import annotations

from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InputError
from crm_assets.records import SessionSummary
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file, write_json

__all__ = ["COLUMNS", "Label", "LabelFile", "Unit", "Word", "identifier", "read_labels", "write_labels"]

Unit = Literal["session", "turn"]
"""Unit that a label is given to."""
Word = Literal["yes", "no", "unsure"]
"""Right or wrong; `unsure` is counted and agrees with nobody."""

COLUMNS: Final = ("id", "conversation_id", "epoch", "turn", "before", "transcript", "label", "note")
"""Of the CSV file. Only `id`, `label` and `note` are read back."""


class _FrozenLabel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Label(_FrozenLabel):
    """A person's verdict on one session or turn."""

    label: Word
    """The verdict."""
    note: str = ""
    """Why, in the person's words."""


class LabelFile(_FrozenLabel):
    """The labels of one baseline, beside its folder: its own files stay as they were finished."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    baseline: str
    """`dataset|run`."""
    sessions_sha256: str
    """Hex SHA-256 of the sessions.jsonl that was labeled."""
    labels: dict[str, Label] = {}
    """By the ID of the session (`<task>::<epoch>`) or turn (`<task>::<epoch>::<turn>`)."""


def identifier(session: SessionSummary, turn: int | None = None) -> str:
    """Return the ID of a session or of one of its turns; it names the run, so that no other run's fits."""
    whole = f"{session.task_id}::{session.epoch}"
    return whole if turn is None else f"{whole}::{turn}"


def read_labels(paths: BaselinePaths) -> LabelFile:
    """Return a baseline's labels; without a file, none.

    Raises:
        InputError: the file cannot be read, or is of other sessions than the baseline has now.
    """
    path, sessions = paths.labels, sha256_of_file(paths.sessions)
    try:
        found = LabelFile.model_validate(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return LabelFile(baseline=str(paths.key), sessions_sha256=sessions)
    except (OSError, orjson.JSONDecodeError, ValidationError) as error:
        raise InputError(
            f"{path} holds no labels that this version can read; restore it, or move it away and import "
            "the CSV again."
        ) from error
    if (found.baseline, found.sessions_sha256) != (str(paths.key), sessions):
        raise InputError(
            f"{path} labels other sessions than the baseline has now; move it away, and label these."
        )
    return found


def write_labels(paths: BaselinePaths, labels: LabelFile) -> None:
    """Write a baseline's labels, whole or not at all.

    Raises:
        InfrastructureError: the disk refused.
    """
    write_json(paths.labels, labels.model_dump(mode="json"))
