"""The estimate of what a run will cost, as it was made before the run began."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["CostEstimate", "RoleEstimate"]


class _Estimate(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RoleEstimate(_Estimate):
    """The calls that one role is expected to make."""

    model: str
    """Model that it asks, as `provider/model`."""
    calls: int
    """Calls, retries included."""
    prompt_tokens: int
    """Tokens of the requests."""
    cached_tokens: int
    """Of these, those that the provider is expected to read from its cache."""
    completion_tokens: int
    """Tokens of the replies."""
    usd: float | None
    """US dollars; null where the model's price is unknown."""


class CostEstimate(_Estimate):
    """The expected cost of a run. Models that cost nothing are not in it."""

    sessions: int
    """Sessions to run."""
    tokens: int
    """Prompt and completion tokens of all roles."""
    tokens_low: int
    """Lower end of their range."""
    tokens_high: int
    """Upper end of their range."""
    usd: float | None
    """US dollars of the models whose price is known; null if none is."""
    usd_low: float | None
    """Lower end of its range."""
    usd_high: float | None
    """Upper end of its range."""
    unpriced: tuple[str, ...] = ()
    """Models whose price is unknown: their cost comes on top."""
    own_agent: bool = False
    """True for an agent of the user's own, whose calls are not in the estimate."""
    by_role: dict[str, RoleEstimate]
    """The calls of each role."""
    measured_sessions: int
    """Sessions of earlier runs that it is made from; 0 for the conversations' text alone."""
    basis: str
    """The sessions or texts that it is made from, in words."""
