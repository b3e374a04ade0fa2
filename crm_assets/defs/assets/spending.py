"""Describe the cost of a run's model calls as an asset's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from crm_assets.llm import Role, Spending, answers_by_model, ledger_totals
from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.estimate.wording import describe_estimate

__all__ = ["estimate_metadata", "spending_metadata"]


def estimate_metadata(cost: CostEstimate | None) -> dict[str, Any]:
    """Return what a run was estimated to cost; nothing if nothing was to be paid."""
    if cost is None:
        return {}
    return {
        "estimate": describe_estimate(cost),
        "estimated_usd": cost.usd,
        "estimated_tokens": cost.tokens,
        "estimate_by_role": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        "role": role,
                        "model": each.model,
                        "calls": each.calls,
                        "tokens": each.prompt_tokens + each.completion_tokens,
                        "cost_usd": "unknown" if each.usd is None else f"{each.usd:.6f}",
                    }
                )
                for role, each in cost.by_role.items()
            ]
        ),
    }


def spending_metadata(ledger: Path, by_role: Mapping[Role, Spending] | None = None) -> dict[str, Any]:
    """Return the run's cost by its ledger, in all and by role; nothing if no model was called.

    Args:
        ledger: the file.
        by_role: its sums, where they are known.

    Raises:
        InputError: the file is no ledger.
    """
    if not ledger.is_file():
        return {}
    if by_role is None:
        by_role = ledger_totals(ledger)
    total = Spending.total(by_role.values())
    return {
        "ledger": dg.MetadataValue.path(str(ledger)),
        "calls": total.calls,
        "failed_calls": total.failed_calls,
        "tokens": total.usage.total_tokens,
        "cost_usd": total.cost_usd,  # None, and so not shown, where all prices are unknown
        "calls_of_unknown_cost": total.unknown_cost_calls,
        "calls_of_unknown_tokens": total.unknown_usage_calls,
        "answered_by": "; ".join(
            f"{asked}: {' and '.join(by)}" for asked, by in answers_by_model(by_role.values()).items()
        )
        or None,
        "by_role": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        "role": str(role),
                        "calls": spending.calls,
                        "failed_calls": spending.failed_calls,
                        "tokens": spending.usage.total_tokens,
                        "cached_share": _cached_share(spending),
                        "cost_usd": "unknown"
                        if spending.cost_usd is None
                        else f"{'≥ ' if spending.unknown_cost_calls else ''}{spending.cost_usd:.6f}",
                    }
                )
                for role, spending in by_role.items()
            ]
        )
        if by_role
        else None,
    }


def _cached_share(spending: Spending) -> str:
    usage = spending.usage
    return f"{usage.cached_tokens / usage.prompt_tokens:.0%}" if usage.prompt_tokens else "unknown"
