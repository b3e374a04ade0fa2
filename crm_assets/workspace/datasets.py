"""The datasets of a project, and what is known of them before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_dataset
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.conversations import DatasetRevision

__all__ = ["available_datasets", "read_revision_file", "require_dataset"]


def available_datasets(project: Project) -> list[str]:
    """The keys of the datasets in the project's folder, in alphabetical order.

    A file whose name cannot be a key is nobody's dataset and is left out.
    """
    return [file.stem for file in sorted(project.conversations.glob("*.jsonl")) if _is_key(file.stem)]


def _is_key(name: str) -> bool:
    try:
        parse_dataset(name)
    except InputError:
        return False
    return True


def require_dataset(project: Project, dataset: str) -> Path:
    """The file of `dataset`.

    Raises:
        InputError: there is none; the sentence names those that are there.
    """
    path = project.dataset_file(parse_dataset(dataset))
    if not path.is_file():
        known = ", ".join(available_datasets(project)) or "none"
        raise InputError(
            f"There is no dataset {dataset!r}: {path} is missing (available: {known}); put a file "
            "there or choose another."
        )
    return path


def read_revision_file(path: Path) -> DatasetRevision:
    """The revision in a baseline's `revision.json`.

    Raises:
        InputError: it is not there or is none.
    """
    from pydantic import ValidationError  # noqa: PLC0415  (not needed to list datasets)

    from crm_assets.conversations import DatasetRevision  # noqa: PLC0415

    try:
        return DatasetRevision.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: materialize dataset_revision of this partition first."
        ) from error
    except ValidationError as error:
        raise InputError(f"{path} is no dataset revision: materialize dataset_revision again.") from error
