"""The contents of history.json."""

from __future__ import annotations

from typing import Final, Literal

from crm_assets.reporting.comparison import FactChange
from crm_assets.reporting.figures import Model
from crm_assets.reporting.run_figures import RunFigures
from crm_assets.workspace.notes import RunNote

__all__ = ["HISTORY_VERSION", "FileStamp", "History", "HistoryRun"]

HISTORY_VERSION: Final = 2

Scalar = str | int | float | bool | None


class FileStamp(Model):
    """Size and time of a file that was read; if both are the same, so is the file."""

    bytes: int
    modified_ns: int
    """Its modification time, nanoseconds since 1970."""


class HistoryRun(Model):
    """One finished baseline."""

    run: str
    """Its key."""
    metrics: FileStamp | None
    """The metrics.json that was read; null where it is missing."""
    sessions: FileStamp
    """The sessions.jsonl that `facts` come from."""
    figures: RunFigures | None
    """Null where they cannot be read."""
    problem: str | None
    """Why they cannot be read, and what to do."""
    facts: dict[str, Scalar]
    """The settings that its sessions record, by path; and the dataset's revision."""
    changes: tuple[FactChange, ...] = ()
    """Settings that differ between the run before (a) and this one (b)."""
    tags: tuple[str, ...] = ()
    """Its tags."""
    notes: tuple[RunNote, ...] = ()
    """What people noted of it, oldest first."""


class History(Model):
    """The finished baselines of a dataset."""

    schema_version: Literal[2] = HISTORY_VERSION
    dataset: str
    runs: tuple[HistoryRun, ...]
    """Oldest first."""

    @property
    def samples(self) -> tuple[HistoryRun, ...]:
        """The runs with figures that are samples of the dataset; of repetitions, the first."""
        first: dict[str, HistoryRun] = {}
        samples: dict[str, str] = {}
        for run in self.runs:
            if run.figures is None or run.figures.subset is not None:
                continue
            own, origin = f"{self.dataset}|{run.run}", run.figures.origin
            samples[own] = own if origin is None else samples.get(origin.sample, origin.sample)
            first.setdefault(samples[own], run)
        return tuple(first.values())
