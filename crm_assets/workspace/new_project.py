"""Writes the files that a new project starts with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import crm_assets
from crm_assets.errors import InputError
from crm_assets.workspace.files import atomic_writer
from crm_assets.workspace.project import Project

__all__ = ["lay_out"]

_PATTERNS = (
    "workspace.yaml",
    "dagster_home/dagster.yaml",
    "configs/atlas/*.yaml",
    "configs/atlas/.env.example",
    "data/conversations/dev.jsonl",
    "data/conversations/demo.jsonl",
)


def lay_out(project: Project) -> list[Path]:
    """Write workspace, Dagster's settings, configurations and datasets; return the files that were written.

    Files that are there are kept.

    Raises:
        InputError: the folder is a project already.
        InfrastructureError: the disk refused.
    """
    if (project.root / "workspace.yaml").exists():
        raise InputError(f"{project.root} is a project already; choose another folder.")
    written = []
    for source, name in _files():
        target = project.root / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_writer(target) as handle:
                handle.write(source.read_bytes())
            written.append(target)
    return written


def _files() -> Iterator[tuple[Path, Path]]:
    """Yield each file to copy, and its place in a project; the one that makes it a project is the last."""
    package = Path(crm_assets.__file__).parent
    installed = package / "project"  # where the wheel has them
    folder = installed if installed.is_dir() else package.parent
    for pattern in reversed(_PATTERNS):
        for source in sorted(folder.glob(pattern)):
            yield source, source.relative_to(folder)
