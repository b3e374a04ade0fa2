"""The short table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

from crm_assets.reporting.document import Cell, Section
from crm_assets.reporting.formats import dollars, interval, number, of, percent, share
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.readme_tables import rates_table
from crm_assets.reporting.wording import (
    describe_kind,
    describe_not_recorded,
    headline_rates,
    unit_of,
)

__all__ = ["summarize"]


def summarize(metrics: Metrics) -> Section:
    """Build the baseline at a glance: how well it went, the most common failure, what it cost."""
    agent = (metrics.agent_config or {}).get("name") or "unnamed agent"
    title = f"{agent} on {metrics.dataset or 'an unnamed dataset'}"
    if origin := metrics.origin:
        title += f" ({origin.label})"
    return Section(title, (rates_table(headline_rates(metrics).items(), _counts(metrics)),))


def _counts(metrics: Metrics) -> Iterator[tuple[Cell, ...]]:
    if (repeats := metrics.repeats) is not None:
        k = str(repeats.epochs)
        for name, mean in (
            (f"All {k} times right (pass^{k})", repeats.pass_hat_k[k]),
            (f"Right at least once (pass@{k})", repeats.pass_at_k[k]),
        ):
            yield name, share(mean.mean), interval(mean), mean.count
    for kind in metrics.failure_kinds[:1]:
        rate, what = kind.share_of_turns, describe_kind(kind.kind)
        name = f"Most common failure: {what[:1].lower()}{what[1:]}"
        yield name, percent(rate), interval(rate), of(rate)
    why = describe_not_recorded(metrics.not_recorded_reasons)
    excluded = {
        "Ended by an infrastructure failure": metrics.failed_runs,
        f"Not in the recorded run ({why})" if why else "Not in the recorded run": metrics.not_recorded_runs,
        "Not run, the budget was spent": metrics.not_run,
        "Without a verdict": metrics.conversations_without_verdict,
    }
    for name, count in excluded.items():
        if count:
            yield name, None, None, f"{count:,} of {metrics.total_sessions:,}"
    tokens, cost = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    whose = " of the recorded run" if metrics.origin else ""
    if tokens.count:
        yield f"Tokens per {unit_of(metrics)}{whose}", number(tokens.mean), None, tokens.count
    if cost.count:
        yield f"Cost per {unit_of(metrics)}{whose}", dollars(cost.mean), None, cost.count
