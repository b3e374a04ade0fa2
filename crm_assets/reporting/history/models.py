"""What history.json holds."""

from __future__ import annotations

from typing import Final, Literal

from crm_assets.reporting.comparison import FactChange
from crm_assets.reporting.figures import Mean, Model, Rate
from crm_assets.reporting.plots import Estimate, RunPoint

__all__ = ["HISTORY_VERSION", "FileStamp", "History", "HistoryRun", "RunFigures"]

HISTORY_VERSION: Final = 1

Scalar = str | int | float | bool | None


class FileStamp(Model):
    """By what a file is known to be the one that was read."""

    bytes: int
    modified_ns: int
    """Its modification time, nanoseconds since 1970."""


class RunFigures(Model):
    """How a run went, as metrics.json has it."""

    run_id: str | None
    agent: str | None
    model: str | None
    """The student's."""
    mode: str
    """The execution mode of most sessions."""
    dataset_revision: str | None
    """SHA-256 of the dataset's file."""
    conversations: int
    without_verdict: int
    strict_success: Rate
    state_match: Rate
    reward: Mean
    tokens: int | None
    """Of all roles; null when none were reported."""
    cost_usd: float | None
    """Of all roles; null when none was reported."""


class HistoryRun(Model):
    """One finished baseline."""

    run: str
    """Its key."""
    metrics: FileStamp | None
    """The metrics.json that was read; null where it is missing."""
    sessions: FileStamp
    """The sessions.jsonl that `facts` come from."""
    figures: RunFigures | None
    """Null where there are none to be had."""
    problem: str | None
    """Why there are none, and what to do."""
    facts: dict[str, Scalar]
    """What its sessions say of how it was made, by path; and the dataset's revision."""
    changes: tuple[FactChange, ...] = ()
    """What differs from the run before (a), in this one (b)."""

    def point(self) -> RunPoint | None:
        """The run in the picture; None where there are no figures."""
        figures = self.figures
        if figures is None:
            return None
        strict, state, reward = figures.strict_success, figures.state_match, figures.reward
        return RunPoint(
            label=self.run,
            mode=figures.mode,
            strict_success=Estimate(strict.value, strict.low, strict.high),
            state_match=Estimate(state.value, state.low, state.high),
            reward=Estimate(reward.mean, reward.low, reward.high),
        )


class History(Model):
    """The finished baselines of a dataset."""

    schema_version: Literal[1] = HISTORY_VERSION
    dataset: str
    runs: tuple[HistoryRun, ...]
    """Oldest first."""
