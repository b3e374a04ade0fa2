"""Rates and means, each with its count and its interval."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

from crm_assets.reporting.intervals import Tally, estimate_mean, estimate_rate

__all__ = ["Estimate", "Mean", "Model", "Rate", "tidy"]

_DIGITS = 6  # more would be noise, and differ between platforms


def tidy(value: float | None) -> float | None:
    """Return a figure as metrics.json has it."""
    return None if value is None else round(float(value), _DIGITS)


class Model(BaseModel):
    """Base of everything in metrics.json: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(Model):
    """A share of verdicts; without verdicts it is undefined, not 0."""

    value: float | None
    """Successes / count, where a conversation with several sessions counts once, by their mean; null when
    there was no verdict at all."""
    successes: int
    """Positive verdicts, of all sessions."""
    count: int
    """All verdicts; what has none (unscored, not run) is not counted."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    conversations: int
    """Conversations that the verdicts come from: the independent units of the interval."""
    effective_count: float | None
    """Independent verdicts that the interval is worth; below `count` where those of a conversation
    correlate."""

    @classmethod
    def of(cls, tally: Tally) -> Rate:
        """Return the rate of a tally."""
        estimate = estimate_rate(tally)
        return cls(
            value=tidy(estimate.value),
            successes=tally.successes,
            count=tally.verdicts,
            low=tidy(estimate.interval.low if estimate.interval else None),
            high=tidy(estimate.interval.high if estimate.interval else None),
            conversations=tally.conversations,
            effective_count=tidy(estimate.effective_count),
        )

    @classmethod
    def of_conversations(cls, successes: int, count: int) -> Rate:
        """Return the rate of verdicts, one per conversation."""
        return cls.of(Tally.of_counts({(1, 1, 1): successes, (0, 1, 1): count - successes}))


class Mean(Model):
    """A mean over conversations, of each the mean of its sessions; without values undefined, not 0."""

    count: int
    """Conversations that have a value, however many sessions of them."""
    missing: int
    """Conversations that ran and have no value."""
    mean: float | None
    """Null when no conversation has a value."""
    stddev: float | None
    """Standard deviation of the sample (n - 1); null below two values."""
    low: float | None
    """Lower end of the mean's 95 % interval; null below two values or when all are equal."""
    high: float | None
    """Upper end of the mean's 95 % interval; null below two values or when all are equal."""

    @property
    def value(self) -> float | None:
        """Return the mean, under the name that a rate's value has."""
        return self.mean

    @classmethod
    def of(
        cls, values: list[float], *, missing: int, at_least: float, at_most: float = float("inf")
    ) -> Mean:
        """Return the mean of `values`, one per conversation, between `at_least` and `at_most`."""
        estimate = estimate_mean(values, at_least=at_least, at_most=at_most)
        return cls(
            count=len(values),
            missing=missing,
            mean=tidy(estimate.mean),
            stddev=tidy(estimate.stddev),
            low=tidy(estimate.interval.low if estimate.interval else None),
            high=tidy(estimate.interval.high if estimate.interval else None),
        )


Estimate: TypeAlias = Rate | Mean
"""A figure with an interval: `value`, `low`, `high`."""
