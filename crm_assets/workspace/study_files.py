"""The files of a study: its plan, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

__all__ = ["StudyPaths"]


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study; its runs are baselines."""

    folder: Path

    @classmethod
    def of(cls, project: Project, key: BaselineKey) -> StudyPaths:
        """Return the files of the study of a dataset that is named like a run."""
        return cls(project.artifacts / "studies" / key.dataset / str(key.run))

    @property
    def plan(self) -> Path:
        """Return the file that says what is compared; it is there from the start."""
        return self.folder / "plan.json"

    @property
    def document(self) -> Path:
        """Return the file with the result."""
        return self.folder / "study.json"

    @property
    def readme(self) -> Path:
        """Return the page as Markdown."""
        return self.folder / "README.md"

    @property
    def report(self) -> Path:
        """Return the page as HTML."""
        return self.folder / "report.html"
