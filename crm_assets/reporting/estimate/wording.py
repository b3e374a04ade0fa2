"""An estimate in words: before a run, and beside what came of it."""

from __future__ import annotations

from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.formats import counted, dollars, number, share

__all__ = ["came_to", "describe_amount", "describe_estimate"]


def describe_estimate(cost: CostEstimate) -> str:
    """Return the estimate in a few sentences."""
    sentences = [f"{_amount(cost)}, for {counted(cost.sessions, 'session')}: {_tokens(cost)}."]
    if cost.usd is not None and cost.unpriced:
        models = " and ".join(cost.unpriced)
        sentences.append(f"On top comes what {models} will cost: the price is unknown.")
    if cost.own_agent:
        sentences.append("What the agent itself asks is not in it.")
    sentences.append(f"From {cost.basis}.")
    return " ".join(sentences)


def describe_amount(cost: CostEstimate) -> str:
    """Return the estimate in a few characters: dollars with their range, else tokens."""
    return f"{dollars(cost.usd)} ({_range(cost)})" if cost.usd is not None else _tokens(cost)


def _amount(cost: CostEstimate) -> str:
    if cost.usd is None:
        models = " and ".join(cost.unpriced) or "its models"
        return f"Cost unknown (no price of {models}; usd_per_million_* in the configuration gives one)"
    return f"Estimated cost {describe_amount(cost)}"


def _tokens(cost: CostEstimate) -> str:
    prompts = sum(role.prompt_tokens for role in cost.by_role.values())
    cached = sum(role.cached_tokens for role in cost.by_role.values())
    text = f"{_rough(cost.tokens)} tokens ({_rough(cost.tokens_low)}–{_rough(cost.tokens_high)})"
    return f"{text}, {share(cached / prompts)} of the prompts cached" if cached else text


def came_to(cost: CostEstimate, usd: float | None, tokens: int | None) -> str:
    """Return the estimate beside what a run came to.

    Args:
        cost: the estimate, made before the run.
        usd: what the run cost; None if unknown.
        tokens: what it used; None if unknown.
    """
    if cost.usd is not None and usd is not None:
        expected = f"{dollars(usd)}, estimated {dollars(cost.usd)} ({_range(cost)})"
        return f"{expected}: {_ratio(usd, cost.usd, (cost.usd_low, cost.usd_high))}"
    if tokens is None:
        return "unknown"
    between = f"{_rough(cost.tokens_low)}–{_rough(cost.tokens_high)}"
    expected = f"{number(tokens)} tokens, estimated {_rough(cost.tokens)} ({between})"
    return f"{expected}: {_ratio(tokens, cost.tokens, (cost.tokens_low, cost.tokens_high))}"


def _rough(count: int) -> str:
    """Return a count to two digits: an estimate knows no more."""
    return number(round(count, 2 - len(str(count))))


def _range(cost: CostEstimate) -> str:
    return f"{dollars(cost.usd_low)}–{dollars(cost.usd_high)}"


def _ratio(was: float, estimate: float, between: tuple[float | None, float | None]) -> str:
    if not estimate:
        return "nothing was estimated"
    inside = (between[0] or 0.0) <= was <= (between[1] or 0.0)
    return f"{was / estimate:.2f} × the estimate{'' if inside else ', outside of the range'}"
