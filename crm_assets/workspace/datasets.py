"""The datasets of a project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_dataset
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import stored_datasets

__all__ = ["available_datasets", "require_dataset", "unusable_names"]


def available_datasets(project: Project) -> list[str]:
    """Return the keys of the datasets in the project's folder, in alphabetical order.

    A file whose name cannot be a key is left out (see `unusable_names`).
    """
    return [file.stem for file in sorted(_files(project)) if not _problem(file)]


def _files(project: Project) -> Iterator[Path]:
    """Yield the files that may be datasets: those of the folder, or of the store."""
    folder = project.conversations
    if copies := stored_datasets(project):
        names = [name for name in copies.names(folder) if "/" not in name]
        yield from (folder / name for name in names)
    elif folder.is_dir():
        yield from folder.iterdir()


def unusable_names(project: Project) -> dict[str, str]:
    """Return {file name: reason} of the JSON Lines files whose name cannot be a key."""
    files = sorted(file for file in _files(project) if file.suffix.lower() == ".jsonl")
    found = {file.name: _problem(file) for file in files}
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
    if copies := stored_datasets(project):
        copies.bring(path)
    if not path.is_file():
        known = ", ".join(available_datasets(project)) or "none"
        where = copies.url_of(path) if copies else path
        raise InputError(
            f"There is no dataset {dataset!r}: {where} is missing (available: {known}); put a file "
            "there or choose another one."
        )
    return path
