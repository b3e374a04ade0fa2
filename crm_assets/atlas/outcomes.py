"""The results of a session's parts: mode, plan review, validation, reward."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from crm_assets.atlas.choices import ExecutionMode

__all__ = [
    "Judgment",
    "ModeDecision",
    "PastSession",
    "PlanReview",
    "Principle",
    "Reward",
    "SampleStats",
    "Validation",
]


class _Outcome(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PastSession(_Outcome):
    """An earlier session of a learning key, as shown to probe and learner."""

    execution_mode: str | None
    score: float | None
    student_note: str | None
    teacher_note: str | None
    completed_at: str | None


class ModeDecision(_Outcome):
    """The mode of a session and its reason."""

    mode: ExecutionMode
    source: Literal["forced", "disabled", "override", "no_history", "probe", "probe_failed"]
    confidence: float | None = None
    """Of the probe, 0–1."""
    reason: str | None = None
    """The probe's choice, or its error."""


class PlanReview(_Outcome):
    """A plan and the teacher's review of it (mode coach)."""

    plan: str
    """The student's plan, in its own words."""
    approved: bool | None
    """None if the teacher's call failed."""
    guidance: str | None
    error: str | None = None


class Validation(_Outcome):
    """The teacher's validation of one attempt."""

    valid: bool | None
    """None if the teacher's call failed."""
    guidance: str | None = None
    error: str | None = None
    """Why `valid` is None."""


class Principle(_Outcome):
    """A criterion of a judge."""

    name: str
    weight: float
    description: str


class Judgment(_Outcome):
    """One judge's judgment of a session."""

    score: float
    """0–1."""
    rationale: str
    principles: tuple[Principle, ...]
    uncertainty: float
    """0–1."""
    temperature: float | None
    """As it was sent; None if the model takes none."""


class SampleStats(_Outcome):
    """The spread of the judgments behind a score."""

    score: float
    score_mean: float
    score_stddev: float
    """Population standard deviation."""
    sample_count: int
    uncertainty_mean: float
    uncertainty_stddev: float
    best_uncertainty: float
    timestamp: str
    """ISO 8601, UTC."""


class Reward(_Outcome):
    """The reward of a session."""

    status: Literal["scored", "failed"]
    """`failed`: no judgment was usable; the score is unknown, not 0."""
    score: float | None
    """0–1, the mean over `samples`."""
    rationale: str | None
    """From the least uncertain judgment."""
    principles: tuple[Principle, ...] = ()
    samples: tuple[Judgment, ...] = ()
    """The judgments that count: those of the small model, or only that of the large one."""
    small_judge_scores: tuple[float, ...] = ()
    """Of all usable judgments of the small model, in the order of their temperatures."""
    escalated: bool = False
    escalation_reason: str | None = None
    stats: SampleStats | None = None
    audit: tuple[dict[str, object], ...] = ()
    """Every call: stage, model, temperature, messages, response or error, usage."""
