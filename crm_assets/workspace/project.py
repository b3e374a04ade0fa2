"""The folders of a project.

A project is the folder that holds `workspace.yaml`: the one `CRM_ASSETS_HOME` names, else the nearest
one at or above the current folder, else the current folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Project", "find_project"]


@dataclass(frozen=True)
class Project:
    """The folders of one project, all absolute."""

    root: Path

    @property
    def conversations(self) -> Path:
        """Return the folder of the datasets, `<name>.jsonl` each."""
        return self.root / "data" / "conversations"

    @property
    def baselines(self) -> Path:
        """Return the folder of the baselines, `<dataset>/<run>/atlas/` each."""
        return self.root / "artifacts" / "baselines"

    @property
    def identity(self) -> Path:
        """Return the file of the project's identity."""
        return self.root / "artifacts" / "project.json"

    @property
    def playbooks(self) -> Path:
        """Return the folder of the playbooks' snapshots, `<namespace>/<time>.json` each."""
        return self.root / "artifacts" / "playbooks"

    @property
    def state(self) -> Path:
        """Return the folder of data that can be recreated: the embedded server's, caches."""
        return self.root / ".crm_assets"

    @property
    def dagster_home(self) -> Path:
        """Return Dagster's instance folder."""
        return self.root / "dagster_home"

    @property
    def configs(self) -> Path:
        """Return the folder of the Atlas configurations."""
        return self.root / "configs" / "atlas"

    def dataset_file(self, dataset: str) -> Path:
        """Return the file of `dataset`."""
        return self.conversations / f"{dataset}.jsonl"

    def relative(self, path: Path) -> str:
        """Return `path` as it reads inside the project, so that the project can be moved."""
        absolute = path.resolve()
        return (absolute.relative_to(self.root) if absolute.is_relative_to(self.root) else path).as_posix()


def find_project() -> Project:
    """Return the project that this process works in."""
    named = os.environ.get("CRM_ASSETS_HOME")
    if named:
        return Project(Path(named).expanduser().resolve())
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "workspace.yaml").is_file():
            return Project(folder)
    return Project(here)
