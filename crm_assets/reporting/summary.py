"""The short table at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_assets.reporting.formats import (
    NOTHING,
    dollars,
    interval,
    number,
    of,
    percent,
    plain,
)
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.readme_tables import describe_kind

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["summary_table"]


def summary_table(metrics: Metrics) -> Table:
    """The baseline at a glance: what it is, how well it went, what failed most, what it cost."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    agent = plain(str((metrics.agent_config or {}).get("name") or "unnamed agent"))
    # Text, not str: names come from files, and rich would read [brackets] in them as markup.
    table = Table(title=Text(f"{agent} on {plain(metrics.dataset or 'an unnamed dataset')}"))
    for name in ("Measure", "Value", "95% interval", "Count"):
        table.add_column(name, justify="left" if name == "Measure" else "right")
    for row in (*_rates(metrics), *_counts(metrics)):
        table.add_row(*map(Text, row))
    return table


def _rates(metrics: Metrics) -> list[tuple[str, str, str, str]]:
    rates = {
        "Strict success": metrics.strict_success,
        "State match": metrics.state_match,
        "Conversations with ≥ 1 tool success": metrics.conversations_with_tool_success,
        "Conversations with ≥ 1 response success": metrics.conversations_with_response_success,
        "Turn-level tool success": metrics.turn_tool_success,
        "Turn-level response success": metrics.turn_response_success,
    }
    return [(name, percent(rate), interval(rate), of(rate)) for name, rate in rates.items()]


def _counts(metrics: Metrics) -> list[tuple[str, str, str, str]]:
    rows = []
    if metrics.failure_kinds:
        worst = metrics.failure_kinds[0]
        what = describe_kind(worst.kind)
        rows.append(
            (
                f"Failed most: {what[:1].lower()}{what[1:]}",
                percent(worst.share_of_turns),
                interval(worst.share_of_turns),
                of(worst.share_of_turns),
            )
        )
    not_run = {
        "Ended by the infrastructure": metrics.failed_runs,
        "Not in the recorded run": metrics.not_recorded_runs,
        "Not run, the budget was spent": metrics.not_run,
        "Without a verdict": metrics.conversations_without_verdict,
    }
    total = metrics.total_conversations
    rows += [
        (name, NOTHING, NOTHING, f"{count:,} of {total:,}") for name, count in not_run.items() if count
    ]
    tokens, cost = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    if tokens.count:
        rows.append(("Tokens a conversation", number(tokens.mean), NOTHING, number(tokens.count)))
    if cost.count:
        rows.append(("Cost a conversation", dollars(cost.mean), NOTHING, number(cost.count)))
    return rows
