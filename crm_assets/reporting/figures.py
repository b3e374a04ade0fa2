"""A figure never comes alone: rates and means carry their counts and their intervals."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from crm_assets.reporting.intervals import Tally, estimate_mean, estimate_rate

__all__ = ["Mean", "Model", "Rate", "tidy"]

_DIGITS = 6  # more would be noise, and differ between platforms


def tidy(value: float | None) -> float | None:
    """The figure as it is written down."""
    return None if value is None else round(float(value), _DIGITS)


class Model(BaseModel):
    """Base of everything in metrics.json: frozen, closed, documented."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rate(Model):
    """A share of verdicts; without verdicts there is no share, not a share of 0."""

    value: float | None
    """Successes / count; null when there was no verdict at all."""
    successes: int
    """Verdicts that were yes."""
    count: int
    """Verdicts there were; what has none (unscored, not run) is not among them."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    conversations: int
    """Conversations the verdicts come from: what the interval takes as independent."""
    effective_count: float | None
    """Independent verdicts the interval is worth; below `count` where turns go together."""

    @classmethod
    def of(cls, tally: Tally) -> Rate:
        """The rate of a tally."""
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
        """The rate of verdicts that are one a conversation."""
        return cls.of(Tally(count, successes, count, successes, successes, count))


class Mean(Model):
    """A mean over conversations; without values there is no mean, not a mean of 0."""

    count: int
    """Conversations that have a value."""
    missing: int
    """Conversations that ran and have none."""
    mean: float | None
    """Null when no conversation has a value."""
    stddev: float | None
    """Standard deviation of the sample (n - 1); null below two values."""
    low: float | None
    """Lower end of the mean's 95 % interval; null below two values or when all are equal."""
    high: float | None
    """Upper end of the mean's 95 % interval; null below two values or when all are equal."""

    @classmethod
    def of(
        cls, values: list[float], *, missing: int, at_least: float, at_most: float = float("inf")
    ) -> Mean:
        """The mean of `values`, which lie between `at_least` and `at_most`."""
        estimate = estimate_mean(values, at_least=at_least, at_most=at_most)
        return cls(
            count=len(values),
            missing=missing,
            mean=tidy(estimate.mean),
            stddev=tidy(estimate.stddev),
            low=tidy(estimate.interval.low if estimate.interval else None),
            high=tidy(estimate.interval.high if estimate.interval else None),
        )
