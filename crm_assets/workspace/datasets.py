"""The datasets of a project."""

from __future__ import annotations

from pathlib import Path

from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_dataset
from crm_assets.workspace.project import Project

__all__ = ["available_datasets", "require_dataset"]


def available_datasets(project: Project) -> list[str]:
    """Return the keys of the datasets in the project's folder, in alphabetical order.

    A file whose name cannot be a key is left out.
    """
    return [file.stem for file in sorted(project.conversations.glob("*.jsonl")) if _is_key(file.stem)]


def _is_key(name: str) -> bool:
    try:
        parse_dataset(name)
    except InputError:
        return False
    return True


def require_dataset(project: Project, dataset: str) -> Path:
    """Return the file of `dataset`.

    Raises:
        InputError: it is missing; the message names the datasets that exist.
    """
    path = project.dataset_file(parse_dataset(dataset))
    if not path.is_file():
        known = ", ".join(available_datasets(project)) or "none"
        raise InputError(
            f"There is no dataset {dataset!r}: {path} is missing (available: {known}); put a file "
            "there or choose another one."
        )
    return path
