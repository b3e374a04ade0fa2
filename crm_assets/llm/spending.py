"""Adds up what calls cost: the sums that a session, a run and a budget are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from crm_assets.errors import CrmAssetsError
from crm_assets.llm.messages import Usage

__all__ = [
    "DOLLAR_DIGITS",
    "NANO",
    "BudgetExhausted",
    "Charge",
    "Counted",
    "Spending",
    "answers_by_model",
    "spent_so_far",
]

DOLLAR_DIGITS = 9
"""Digits of a dollar that are kept: sums of such amounts are exact in whatever order."""

NANO = 10**DOLLAR_DIGITS
"""Nanodollars in a dollar."""


class Charge(NamedTuple):
    """Tokens and nanodollars, as budgets count them; not whole where they are estimated."""

    tokens: float = 0
    nano: float = 0

    def __add__(self, other: Charge) -> Charge:  # type: ignore[override]  # not a tuple's
        return Charge(self.tokens + other.tokens, self.nano + other.nano)

    def __sub__(self, other: Charge) -> Charge:
        return Charge(self.tokens - other.tokens, self.nano - other.nano)

    def scaled(self, factor: float) -> Charge:
        """Return a multiple of both."""
        return Charge(self.tokens * factor, self.nano * factor)

    def at_least(self, other: Charge) -> Charge:
        """Return the larger of each."""
        return Charge(max(self.tokens, other.tokens), max(self.nano, other.nano))


class Counted(NamedTuple):
    """Calls as budgets count them: an estimate stands for what is unknown."""

    calls: int = 0
    amount: Charge = Charge()
    estimated: Charge = Charge()
    """The part of the amount that is estimated."""
    unpriced_calls: int = 0
    """Calls of unknown cost that have no estimate either."""


@dataclass(frozen=True)
class Spending:
    """Calls and what they cost, retries and failed ones included."""

    calls: int = 0
    """Requests sent."""
    failed_calls: int = 0
    """Of these, those that gave no usable reply."""
    usage: Usage = field(default_factory=Usage)
    """Tokens of the calls whose usage is known."""
    cost_usd: float | None = 0.0
    """US dollars of the calls whose cost is known; None when others are unknown and it would be 0."""
    unknown_usage_calls: int = 0
    """Calls whose tokens are unknown: not reported, timed out, cancelled, or cut off."""
    unknown_cost_calls: int = 0
    """Calls whose cost is unknown; where there are any, `cost_usd` is the least that was spent."""
    estimated_tokens: int = 0
    """Tokens that budgets count for the calls of unknown usage."""
    estimated_usd: float | None = 0.0
    """US dollars that budgets count for the calls of unknown cost; None where a price is unknown."""
    answered_by: frozenset[tuple[str, str]] = frozenset()
    """The models that were asked, each with the model that answered and its server."""

    def __add__(self, other: Spending) -> Spending:
        return Spending.total((self, other))

    @staticmethod
    def total(parts: Iterable[Spending]) -> Spending:
        """Return the sum, exact in whatever order."""
        every = tuple(parts)
        if len(every) == 1:
            return every[0]
        usage = Usage()
        for part in every:
            usage = usage + part.usage
        calls = sum(part.calls for part in every)
        unknown = sum(part.unknown_cost_calls for part in every)
        known = [part.cost_usd for part in every if part.cost_usd is not None]
        estimates = [part.estimated_usd for part in every]
        return Spending(
            calls=calls,
            failed_calls=sum(part.failed_calls for part in every),
            usage=usage,
            cost_usd=_dollars(known) if any(known) or not unknown else None,
            unknown_usage_calls=sum(part.unknown_usage_calls for part in every),
            unknown_cost_calls=unknown,
            estimated_tokens=sum(part.estimated_tokens for part in every),
            estimated_usd=None if None in estimates else _dollars(e for e in estimates if e is not None),
            answered_by=frozenset().union(*(part.answered_by for part in every)),
        )


def answers_by_model(parts: Iterable[Spending]) -> dict[str, list[str]]:
    """Return who answered for each model that was asked, as `<model> at <server>`.

    More than one means that results of different models, or of different servers, are mixed.
    """
    found: dict[str, set[str]] = {}
    for part in parts:
        for asked, answered in part.answered_by:
            found.setdefault(asked, set()).add(answered)
    return {asked: sorted(answered) for asked, answered in sorted(found.items())}


def _dollars(amounts: Iterable[float]) -> float:
    return round(math.fsum(amounts), DOLLAR_DIGITS)


def spent_so_far(spending: Spending) -> str:
    """Return what was spent, in a few words for a line of progress."""
    tokens = f"{'≥ ' if spending.unknown_usage_calls else ''}{spending.usage.total_tokens:,} tokens"
    if not spending.cost_usd:
        return tokens
    return f"{'≥ ' if spending.unknown_cost_calls else ''}${spending.cost_usd:,.4f}, {tokens}"


class BudgetExhausted(CrmAssetsError):
    """The run's budget is spent; nothing more is asked. No failure of anything."""

    exit_code = 4
