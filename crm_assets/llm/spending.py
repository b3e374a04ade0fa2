"""Adds up what calls cost: the sums that a session, a run and a budget are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from crm_assets.errors import ConfigError, CrmAssetsError
from crm_assets.llm.messages import Usage

__all__ = [
    "DOLLAR_DIGITS",
    "Budget",
    "BudgetExhausted",
    "Spending",
    "answers_by_model",
    "spent_so_far",
]

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
    """Tokens of the calls whose usage is known."""
    cost_usd: float | None = 0.0
    """US dollars of the calls whose cost is known; None when others are unknown and it would be 0."""
    unknown_usage_calls: int = 0
    """Calls whose tokens are unknown: not reported, timed out, cancelled, or cut off."""
    unknown_cost_calls: int = 0
    """Calls whose cost is unknown; where there are any, `cost_usd` is the least that was spent."""
    estimated_tokens: int = 0
    """What budgets count for the calls of unknown usage."""
    estimated_usd: float | None = 0.0
    """What budgets count for the calls of unknown cost; None where a price is unknown."""
    answered_by: frozenset[tuple[str, str]] = frozenset()
    """The models that were asked, each with the model that answered and its server."""

    def __add__(self, other: Spending) -> Spending:
        return Spending.total((self, other))

    @staticmethod
    def total(parts: Iterable[Spending]) -> Spending:
        """Return the sum, exact in whatever order."""
        every = tuple(parts)
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


@dataclass(frozen=True)
class Budget:
    """Most of a whole run, all its starts together; None is no limit.

    It is looked at before each call, so calls that are under way when it is reached still count beyond it.
    Calls that timed out or were cancelled count with an estimate.
    """

    usd: float | None = None
    """US dollars."""
    tokens: int | None = None
    """Prompt and completion."""

    @property
    def is_set(self) -> bool:
        """Tell a budget that limits anything."""
        return self.usd is not None or self.tokens is not None

    def check(self, spent: Spending) -> None:
        """Let a call pass.

        Raises:
            BudgetExhausted: nothing is left.
            ConfigError: what was spent is unknown, so that a limit in dollars cannot be kept.
        """
        tokens = spent.usage.total_tokens + spent.estimated_tokens
        if self.tokens is not None and tokens >= self.tokens:
            part = f", {spent.estimated_tokens:,} of them estimated" if spent.estimated_tokens else ""
            raise BudgetExhausted(
                f"The budget of {self.tokens:,} tokens is spent ({tokens:,}{part}); what is finished is "
                "kept, set a higher one to resume."
            )
        if self.usd is None:
            return
        if spent.estimated_usd is None:
            raise ConfigError(
                "The run has called models whose price is unknown, so a budget in dollars cannot be kept; "
                "give usd_per_million_* of each model and start afresh, or use a budget in tokens."
            )
        dollars = (spent.cost_usd or 0.0) + spent.estimated_usd
        if dollars >= self.usd:
            part = f", ${spent.estimated_usd:.4f} of it estimated" if spent.estimated_usd else ""
            raise BudgetExhausted(
                f"The budget of ${self.usd:g} is spent (${dollars:.4f}{part}); what is finished is kept, "
                "set a higher one to resume."
            )
