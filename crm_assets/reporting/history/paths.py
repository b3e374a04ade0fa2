"""The files of a dataset's history, beside its baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crm_assets.workspace.project import Project

__all__ = ["HistoryPaths"]


@dataclass(frozen=True)
class HistoryPaths:
    """The files of one dataset's history."""

    folder: Path

    @classmethod
    def of(cls, project: Project, dataset: str) -> HistoryPaths:
        """Return the files of `dataset`."""
        return cls(project.baselines / dataset)

    @property
    def document(self) -> Path:
        """Return the file with every run's figures."""
        return self.folder / "history.json"

    @property
    def page(self) -> Path:
        """Return the page for people."""
        return self.folder / "HISTORY.md"

    @property
    def plots(self) -> Path:
        """Return the folder of the page's picture."""
        return self.folder / "plots"
