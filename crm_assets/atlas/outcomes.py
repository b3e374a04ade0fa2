"""What the parts of a session come to: mode, validation, reward."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from crm_assets.atlas.config import ExecutionMode

__all__ = [
    "Judgement",
    "ModeDecision",
    "PastSession",
    "PlanReview",
    "Principle",
    "Reward",
    "RewardStats",
    "Validation",
]


class _Outcome(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PastSession(_Outcome):
    """An earlier session of a learning key, as probe and learner are shown it."""

    execution_mode: str | None
    score: float | None
    student_note: str | None
    teacher_note: str | None
    completed_at: str | None


class ModeDecision(_Outcome):
    """The mode of a session, and why."""

    mode: ExecutionMode
    source: Literal["forced", "disabled", "override", "no_history", "probe", "probe_failed"]
    confidence: float | None = None
    """Of the probe, 0–1."""
    reason: str | None = None
    """What the probe said, or why it failed."""


class PlanReview(_Outcome):
    """A plan and what the teacher made of it (mode coach)."""

    plan: str
    """What the student is going to do, in its words."""
    approved: bool | None
    """None where the teacher could not be had."""
    guidance: str | None
    error: str | None = None


class Validation(_Outcome):
    """What the teacher says of one attempt of the student."""

    valid: bool | None
    """None where the teacher could not be had or gave no verdict."""
    guidance: str | None = None
    error: str | None = None
    """Why there is no verdict."""


class Principle(_Outcome):
    """What a judge judged by."""

    name: str
    weight: float
    description: str


class Judgement(_Outcome):
    """One judge's word on a session."""

    score: float
    """0–1."""
    rationale: str
    principles: tuple[Principle, ...]
    uncertainty: float
    """0–1."""
    temperature: float


class RewardStats(_Outcome):
    """The spread of the judgements behind a score."""

    score: float
    score_mean: float
    score_stddev: float
    """Of the population."""
    sample_count: int
    uncertainty_mean: float
    uncertainty_stddev: float
    best_uncertainty: float
    timestamp: str
    """ISO 8601, UTC."""


class Reward(_Outcome):
    """What the judges made of a session."""

    status: Literal["scored", "failed"]
    """`failed`: no judgement could be used; that is no score, not a score of 0."""
    score: float | None
    """0–1, the mean of the judgements that count."""
    rationale: str | None
    """Of the least uncertain judgement."""
    principles: tuple[Principle, ...] = ()
    samples: tuple[Judgement, ...] = ()
    """The judgements that count: the small model's, or the large one's alone."""
    escalated: bool = False
    escalation_reason: str | None = None
    stats: RewardStats | None = None
    audit: tuple[dict[str, object], ...] = ()
    """Every question and answer: stage, model, temperature, messages, response or error, usage."""
