"""Where the history of a dataset is: beside its baselines."""

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
        """Those of `dataset`."""
        return cls(project.baselines / dataset)

    @property
    def document(self) -> Path:
        """Every run in figures."""
        return self.folder / "history.json"

    @property
    def page(self) -> Path:
        """The same for people."""
        return self.folder / "HISTORY.md"

    @property
    def plots(self) -> Path:
        """The page's picture."""
        return self.folder / "plots"
