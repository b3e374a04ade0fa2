"""The files of a sweep. Its progress is read from the files of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.project import Project

__all__ = ["SweepPaths"]


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep; its runs are baselines."""

    folder: Path

    @classmethod
    def of(cls, project: Project, key: RunKey) -> SweepPaths:
        """Return the files of the sweep that is named like a run."""
        return cls(project.artifacts / "sweeps" / str(key))

    @property
    def plan(self) -> Path:
        """Return the file that says what is run; it is there from the start."""
        return self.folder / "sweep.json"

    @property
    def lock(self) -> Path:
        """Return the file that is locked while a run takes its part of the budget."""
        return self.folder / "budget.lock"
