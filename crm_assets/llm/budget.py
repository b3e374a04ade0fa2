"""What a run may spend."""

from __future__ import annotations

from dataclasses import dataclass

from crm_assets.errors import ConfigError
from crm_assets.llm.errors import BudgetExhausted
from crm_assets.llm.spending import Spending

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """Most of a whole run, all its starts together; None is no limit.

    It is looked at before each call, so calls that are under way when it is reached still count beyond it.
    """

    usd: float | None = None
    """US dollars."""
    tokens: int | None = None
    """Prompt and completion."""

    def check(self, spent: Spending) -> None:
        """Let a call pass.

        Raises:
            BudgetExhausted: nothing is left.
            ConfigError: what was spent is unknown, so that a limit in dollars cannot be kept.
        """
        if self.tokens is not None and spent.usage.total_tokens >= self.tokens:
            raise BudgetExhausted(
                f"The budget of {self.tokens:,} tokens is spent ({spent.usage.total_tokens:,}); what is "
                "finished is kept, give a higher one to go on."
            )
        if self.usd is None:
            return
        if spent.cost_usd is None:
            raise ConfigError(
                "The run has called models whose price is unknown, so a budget in dollars cannot be kept; "
                "give usd_per_million_* of each model and start afresh, or use a budget in tokens."
            )
        if spent.cost_usd >= self.usd:
            raise BudgetExhausted(
                f"The budget of ${self.usd:g} is spent (${spent.cost_usd:.4f}); what is finished is kept, "
                "give a higher one to go on."
            )
