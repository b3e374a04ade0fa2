"""What pictures are drawn from: small records, whatever they were made of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CurvePoint",
    "Estimate",
    "KindCount",
    "Pictures",
    "RateBar",
    "RoleAmount",
    "RunPoint",
]


@dataclass(frozen=True)
class RateBar:
    """One share with its 95 % interval; without a verdict, all but `label` and `count` are None."""

    label: str
    """What it is the share of: a workflow, a complexity, a turn."""
    value: float | None
    """The share, 0 to 1."""
    low: float | None
    """Lower end of the interval."""
    high: float | None
    """Upper end of the interval."""
    count: int
    """Verdicts that the share is of."""


@dataclass(frozen=True)
class CurvePoint:
    """The mean reward of one or a few consecutive sessions of a learning key; none without a reward."""

    order: int
    """Their place among the key's sessions, from 1."""
    key: str
    """The learning key, in words."""
    reward: float
    """0 to 1."""


@dataclass(frozen=True)
class RoleAmount:
    """What one role used; None where nobody reported it, which is not 0."""

    role: str
    """Student, teacher, judge, …"""
    tokens_prompt: int | None
    """Tokens that the model read."""
    tokens_completion: int | None
    """Tokens that it wrote."""
    tokens_total: int | None
    """All of them; what exceeds the two parts is drawn as of unknown kind."""
    usd: float | None
    """US dollars."""


@dataclass(frozen=True)
class KindCount:
    """How many turns failed in one way."""

    kind: str
    """The kind, in words."""
    turns: int
    """Failed turns of this kind."""


@dataclass(frozen=True)
class Estimate:
    """A figure of a run with its 95 % interval; None where the run has none."""

    value: float | None
    """0 to 1."""
    low: float | None
    """Lower end of the interval."""
    high: float | None
    """Upper end of the interval."""


@dataclass(frozen=True)
class RunPoint:
    """One run in the history of a dataset."""

    label: str
    """The run's key."""
    mode: str
    """Execution mode; says which marker is drawn."""
    strict_success: Estimate
    """Conversations right in every turn."""
    state_match: Estimate
    """Conversations that left the right state."""
    reward: Estimate
    """Mean reward that judges gave."""


@dataclass(frozen=True)
class Pictures:
    """All that is to be drawn; a picture whose records are empty is left out."""

    by_complexity: tuple[RateBar, ...] = ()
    """Strict success by complexity, in reading order."""
    by_workflow: tuple[RateBar, ...] = ()
    """Strict success by workflow, in reading order."""
    by_turn: tuple[RateBar, ...] = ()
    """Turn success by position, in order."""
    rewards: tuple[CurvePoint, ...] = ()
    """Rewards over the run, in any order."""
    roles: tuple[RoleAmount, ...] = ()
    """Tokens and cost by role."""
    failure_kinds: tuple[KindCount, ...] = ()
    """Failed turns by kind."""
    runs: tuple[RunPoint, ...] = ()
    """The runs of a dataset, oldest first."""
