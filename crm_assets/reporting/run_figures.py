"""A run in a few figures: what a table or a picture of many runs shows of each."""

from __future__ import annotations

from crm_assets.conversations.split import Subset
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.figures import Mean, Model, Rate
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.origin import Origin

__all__ = ["RunFigures"]


class RunFigures(Model):
    """How a run went, as its metrics.json has it."""

    run_id: str | None
    agent: str | None
    model: str | None
    """The student's."""
    mode: str
    """The execution mode of most sessions."""
    dataset_revision: str | None
    """SHA-256 of the dataset's file."""
    conversations: int
    """Each content once."""
    without_verdict: int
    """Sessions."""
    strict_success: Rate
    strict_success_formula: StrictFormula = "turns"
    turns_right: Rate | None = None
    state_match: Rate
    state_match_floor: Rate | None = None
    reward: Mean
    tokens: int | None
    """That the run itself used, of all roles; null when none were reported."""
    cost_usd: float | None
    """That the run itself cost, of all roles; null when none was reported."""
    taught_by: int | None = None
    """Conversations of the run that had taught its playbook before, whose results may be remembered; null
    if that is unknown."""
    subset: Subset | None = None
    """The part of the dataset that was run, as by a study; null for all of it, or the first of it."""
    origin: Origin | None = None
    """What the run repeats; null for one that measured its results itself."""
    recorded_tokens: int | None = None
    """Of a run that repeats another, the other one's."""
    recorded_cost_usd: float | None = None
    """Of a run that repeats another, the other one's."""

    @classmethod
    def of(cls, metrics: Metrics) -> RunFigures:
        """Return the figures of a baseline's metrics."""
        agent, modes = metrics.agent_config or {}, metrics.execution_modes
        return cls(
            run_id=metrics.run_id,
            agent=agent.get("name"),
            model=agent.get("model"),
            mode=max(modes, key=lambda mode: (modes[mode], mode)) if modes else "unknown",
            dataset_revision=metrics.dataset_revision,
            conversations=metrics.total_conversations,
            without_verdict=metrics.strict_success_bounds.missing if metrics.strict_success_bounds else 0,
            strict_success=metrics.strict_success,
            strict_success_formula=metrics.strict_success_formula,
            turns_right=metrics.turns_right,
            state_match=metrics.state_match,
            state_match_floor=metrics.state_match_floor,
            reward=metrics.reward_summary,
            tokens=metrics.own_tokens,
            cost_usd=metrics.own_cost_usd,
            taught_by=_taught_by(metrics),
            subset=metrics.subset,
            origin=metrics.origin,
            recorded_tokens=metrics.reported_tokens if metrics.origin else None,
            recorded_cost_usd=metrics.recorded_cost_usd,
        )


def _taught_by(metrics: Metrics) -> int | None:
    """Return how many conversations had taught the playbook that they met; None if it is not recorded."""
    if metrics.playbook is not None:
        return metrics.playbook.taught_by
    started_empty = metrics.loop is None or not metrics.loop.entries_at_start
    return 0 if started_empty else None
