"""Prices calls, and tells which parameters a model takes: from the configuration, else from litellm's list.

The list is read from litellm's file, without importing litellm, which takes seconds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from crm_assets.errors import InfrastructureError
from crm_assets.llm.messages import Usage
from crm_assets.llm.spec import ModelSpec
from crm_assets.llm.spending import DOLLAR_DIGITS

__all__ = ["Price", "Takes", "expected_price_of", "price_of", "takes_of"]

_MILLION = 1_000_000
_LIST = "model_prices_and_context_window_backup.json"
_LONG_PROMPTS = (128_000, 200_000, 272_000)
"""Prompt lengths above which some models have another price."""


@dataclass(frozen=True)
class Price:
    """Prices of a model's tokens."""

    known: bool
    """Tells if what a call costs can be said at all."""
    per_prompt_token: float | None = None
    """US dollars; None where litellm itself works out what a call costs."""
    per_cached_token: float = 0.0
    per_completion_token: float = 0.0
    long_prompts: tuple[tuple[int, Price], ...] = ()
    """Other prices of calls whose prompt is longer than so many tokens, longest first."""

    def cost_usd(self, usage: Usage | None, worked_out: float | None = None) -> float | None:
        """Return the cost of a call in US dollars, None if unknown.

        Args:
            usage: its tokens, None where they are unknown.
            worked_out: what litellm made of them, where it was asked.
        """
        if usage is None or not self.known:
            # Whatever the tokens were, a price of 0 makes nothing of them.
            return 0.0 if self.is_free else None
        if self.per_prompt_token is None:
            return None if worked_out is None else round(worked_out, DOLLAR_DIGITS)
        for above, price in self.long_prompts:
            if usage.prompt_tokens > above:
                return price.cost_usd(usage)
        cost = (
            max(0, usage.prompt_tokens - usage.cached_tokens) * self.per_prompt_token
            + usage.cached_tokens * self.per_cached_token
            + usage.completion_tokens * self.per_completion_token
        )
        return round(cost, DOLLAR_DIGITS)

    @property
    def is_free(self) -> bool:
        """Tell a model whose calls cost nothing."""
        return self.known and (self.per_prompt_token, self.per_cached_token, self.per_completion_token) == (
            0.0,
            0.0,
            0.0,
        )


@dataclass(frozen=True)
class Takes:
    """Parameters of OpenAI's API that a model takes."""

    temperature: bool = True
    parallel_tool_calls: bool = True
    max_tokens: str = "max_tokens"
    """The name under which the most tokens of a reply are given."""


def price_of(spec: ModelSpec, *, own_server: bool, answered: str | None = None) -> Price:
    """Return the price of a model.

    Args:
        spec: the model that is asked.
        own_server: list prices are those of the provider's own servers, and of no other.
        answered: the model that answered, where it said so; it is priced if the list has it.
    """
    if spec.is_offline:
        return Price(known=True, per_prompt_token=0.0)
    listed = None if own_server else _priced(spec, answered)
    if spec.usd_per_million_prompt_tokens is None or spec.usd_per_million_completion_tokens is None:
        if listed is None:
            return Price(known=False)
        return _listed_price(listed) if spec.is_direct else Price(known=True)
    prompt = spec.usd_per_million_prompt_tokens / _MILLION
    if spec.usd_per_million_cached_prompt_tokens is not None:
        cached = spec.usd_per_million_cached_prompt_tokens / _MILLION
    else:
        cached = min(prompt, float((listed or {}).get("cache_read_input_token_cost") or prompt))
    return Price(
        known=True,
        per_prompt_token=prompt,
        per_cached_token=cached,
        per_completion_token=spec.usd_per_million_completion_tokens / _MILLION,
    )


def expected_price_of(spec: ModelSpec, *, own_server: bool) -> Price:
    """Return the price to reckon with before a model is asked: by the list, where litellm works it out."""
    price = price_of(spec, own_server=own_server)
    if price.known and price.per_prompt_token is None and (listed := _priced(spec, None)) is not None:
        return _listed_price(listed)
    return price


def takes_of(spec: ModelSpec) -> Takes:
    """Return which parameters a model takes, as far as litellm's list tells.

    Models that reason take no temperature, but for those whose default is not to reason.
    """
    listed = _listed(spec.provider, spec.model)
    if listed is None or not listed.get("supports_reasoning") or "-chat" in spec.model:
        return Takes()
    return Takes(
        temperature=listed.get("default_reasoning_effort") == "none",
        parallel_tool_calls=bool(listed.get("supports_parallel_function_calling", True)),
        max_tokens="max_completion_tokens",
    )


def _priced(spec: ModelSpec, answered: str | None) -> Mapping[str, Any] | None:
    for model in (answered, spec.model):
        listed = _listed(spec.provider, model) if model else None
        if listed is not None and "input_cost_per_token" in listed:
            return listed
    return None


def _listed_price(listed: Mapping[str, Any], suffix: str = "") -> Price:
    prompt = float(listed[f"input_cost_per_token{suffix}"])
    tiers = (f"_above_{above // 1000}k_tokens" for above in _LONG_PROMPTS) if not suffix else ()
    return Price(
        known=True,
        per_prompt_token=prompt,
        per_cached_token=float(listed.get(f"cache_read_input_token_cost{suffix}") or prompt),
        per_completion_token=float(listed.get(f"output_cost_per_token{suffix}") or 0.0),
        long_prompts=tuple(
            (above, _listed_price(listed, tier))
            for above, tier in reversed(list(zip(_LONG_PROMPTS, tiers, strict=False)))
            if f"input_cost_per_token{tier}" in listed
        ),
    )


@lru_cache(maxsize=256)
def _listed(provider: str, model: str) -> Mapping[str, Any] | None:
    """Return what the list says of a model; None where it is not there."""
    models = _read_list()
    for name in (f"{provider}/{model}", model):
        found = models.get(name)
        if isinstance(found, dict) and str(found.get("litellm_provider", "")).startswith(provider):
            return found
    return None


@lru_cache(maxsize=1)
def _read_list() -> Mapping[str, Any]:
    found = importlib.util.find_spec("litellm")
    path = Path(found.origin).parent / _LIST if found and found.origin else Path(_LIST)
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InfrastructureError(
            f"Cannot read litellm's list of prices {path} ({type(error).__name__}); install litellm again."
        ) from error
    return document if isinstance(document, dict) else {}
