"""What calls cost: the sums that a session, a run and a budget are told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from crm_assets.llm.messages import Usage

__all__ = ["DOLLAR_DIGITS", "Spending", "spent_so_far"]

DOLLAR_DIGITS = 9
"""Digits of a dollar that are kept: sums of such amounts are exact in whatever order."""


@dataclass(frozen=True)
class Spending:
    """Calls and what they cost, retries and failed ones included."""

    calls: int = 0
    """Requests sent."""
    failed_calls: int = 0
    """Of these, those that gave no usable reply."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    """US dollars; None when the price of any of the calls is unknown."""

    def __add__(self, other: Spending) -> Spending:
        return Spending.total((self, other))

    @staticmethod
    def total(parts: Iterable[Spending]) -> Spending:
        """The sum, exact in whatever order."""
        every = tuple(parts)
        usage = Usage()
        for part in every:
            usage = usage + part.usage
        costs = [part.cost_usd for part in every]
        known = [cost for cost in costs if cost is not None]
        return Spending(
            calls=sum(part.calls for part in every),
            failed_calls=sum(part.failed_calls for part in every),
            usage=usage,
            cost_usd=round(math.fsum(known), DOLLAR_DIGITS) if len(known) == len(costs) else None,
        )


def spent_so_far(spending: Spending) -> str:
    """What was spent, in a few words for a line of progress."""
    tokens = f"{spending.usage.total_tokens:,} tokens"
    return tokens if spending.cost_usd is None else f"${spending.cost_usd:,.4f}, {tokens}"
