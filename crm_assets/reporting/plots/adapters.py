"""From the figures of a baseline to the records that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping

from crm_assets.reporting.figures import Mean, Rate
from crm_assets.reporting.models import ConversationGroup, Metrics
from crm_assets.reporting.plots.records import (
    CurvePoint,
    Estimate,
    KindCount,
    Pictures,
    RateBar,
    RoleAmount,
    RunPoint,
)
from crm_assets.reporting.wording import describe_kind

__all__ = ["from_metrics", "run_point"]


def from_metrics(metrics: Metrics) -> Pictures:
    """All pictures that the metrics of one baseline can give.

    The progression needs more than one baseline's metrics hold: add it with `dataclasses.replace`.
    """
    return Pictures(
        by_complexity=_conversations(metrics.by_complexity),
        by_workflow=_conversations(metrics.by_workflow),
        by_turn=tuple(_bar(name, group.turn_success) for name, group in metrics.by_turn.items()),
        rewards=tuple(
            CurvePoint((block.first + block.last) // 2, block.label, block.reward)
            for block in metrics.learning_curve
            if block.reward is not None
        ),
        roles=_roles(metrics),
        failure_kinds=tuple(
            KindCount(describe_kind(failure.kind), failure.turns) for failure in metrics.failure_kinds
        ),
    )


def run_point(label: str, metrics: Metrics) -> RunPoint:
    """One baseline as a point of its dataset's history."""
    modes = metrics.execution_modes
    return RunPoint(
        label=label,
        mode=max(modes, key=lambda mode: (modes[mode], mode)) if modes else "unknown",
        strict_success=_estimate(metrics.strict_success),
        state_match=_estimate(metrics.state_match),
        reward=_mean(metrics.reward_summary),
    )


def _conversations(groups: Mapping[str, ConversationGroup]) -> tuple[RateBar, ...]:
    return tuple(_bar(name, group.strict_success) for name, group in groups.items())


def _bar(label: str, rate: Rate) -> RateBar:
    return RateBar(label, rate.value, rate.low, rate.high, rate.count)


def _roles(metrics: Metrics) -> tuple[RoleAmount, ...]:
    amounts = []
    for role in sorted({*metrics.token_usage, *metrics.cost_usd}):
        tokens, cost = metrics.token_usage.get(role), metrics.cost_usd.get(role)
        amounts.append(
            RoleAmount(
                role=role,
                tokens_prompt=tokens.prompt_tokens if tokens else None,
                tokens_completion=tokens.completion_tokens if tokens else None,
                tokens_total=tokens.total_tokens if tokens else None,
                usd=cost.usd if cost else None,
            )
        )
    return tuple(amounts)


def _estimate(rate: Rate) -> Estimate:
    return Estimate(rate.value, rate.low, rate.high)


def _mean(mean: Mean) -> Estimate:
    return Estimate(mean.mean, mean.low, mean.high)
