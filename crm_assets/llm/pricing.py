"""What a call costs: the configuration's price where it gives one, else litellm's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crm_assets.llm.messages import Usage
from crm_assets.llm.quiet import import_litellm
from crm_assets.llm.spec import ModelSpec
from crm_assets.llm.spending import DOLLAR_DIGITS

__all__ = ["Price", "price_of"]

_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """How a model's calls are priced."""

    known: bool
    """Whether what a call costs can be told."""
    per_prompt_token: float | None = None
    """US dollars, where the configuration gives a price or it is free; else litellm works it out."""
    per_cached_token: float = 0.0
    per_completion_token: float = 0.0

    def cost_usd(self, usage: Usage, worked_out: float | None) -> float | None:
        """The cost of a call in US dollars, None if unknown.

        Args:
            usage: its tokens.
            worked_out: what litellm made of them, cached, reasoning and long-context rates included.
        """
        if usage.total_tokens == 0:
            return 0.0
        if not self.known:
            return None
        if self.per_prompt_token is None:
            return None if worked_out is None else round(worked_out, DOLLAR_DIGITS)
        cost = (
            (usage.prompt_tokens - usage.cached_tokens) * self.per_prompt_token
            + usage.cached_tokens * self.per_cached_token
            + usage.completion_tokens * self.per_completion_token
        )
        return round(cost, DOLLAR_DIGITS)


def price_of(spec: ModelSpec) -> Price:
    """The price of a model. Imports litellm unless it is an offline one."""
    if spec.is_offline:
        return Price(known=True, per_prompt_token=0.0)
    listed = _listed(spec)
    if spec.usd_per_million_prompt_tokens is None or spec.usd_per_million_completion_tokens is None:
        return Price(known=listed is not None)
    prompt = spec.usd_per_million_prompt_tokens / _MILLION
    cached = (listed or {}).get("cache_read_input_token_cost")
    return Price(
        known=True,
        per_prompt_token=prompt,
        per_cached_token=prompt if cached is None else float(cached),
        per_completion_token=spec.usd_per_million_completion_tokens / _MILLION,
    )


def _listed(spec: ModelSpec) -> dict[str, Any] | None:
    """What litellm's list says of the model; None where it is not there or has no price per token."""
    litellm = import_litellm()
    try:
        info = dict(litellm.get_model_info(model=spec.model, custom_llm_provider=spec.provider))
    except Exception:  # its class for "not listed" is no part of its interface
        return None
    # For names that it does not know but that look like a known family it makes up an entry at 0 dollars.
    listed = litellm.model_cost.get(info.get("key")) or {}
    return info if "input_cost_per_token" in listed else None
