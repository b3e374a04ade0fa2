"""The datasets of a project."""

from __future__ import annotations

from pathlib import Path

from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_dataset
from crm_assets.workspace.project import Project

__all__ = ["available_datasets", "require_dataset", "unusable_names"]


def available_datasets(project: Project) -> list[str]:
    """Return the keys of the datasets in the project's folder, in alphabetical order.

    A file whose name cannot be a key is left out (see `unusable_names`).
    """
    return [file.stem for file in sorted(project.conversations.glob("*.jsonl")) if not _problem(file)]


def unusable_names(project: Project) -> dict[str, str]:
    """Return {file name: reason} of the JSON Lines files whose name cannot be a key."""
    folder = project.conversations
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {file.name: _problem(file) for file in files if file.suffix.lower() == ".jsonl"}
    return {name: problem for name, problem in found.items() if problem is not None}


def _problem(file: Path) -> str | None:
    if file.suffix != ".jsonl":
        return "its name must end in '.jsonl'"
    try:
        parse_dataset(file.stem)
    except InputError as error:
        return str(error).rstrip(".")
    return None


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
