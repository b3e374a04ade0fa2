"""The difference of two runs, conversation by conversation.

*The difference* is the mean over conversations of B − A, so that the difficulty of a conversation
cancels out; the conversation is the unit, and its epochs are averaged first (E. Miller, "Adding Error
Bars to Evals", arXiv 2411.00640, 2024).

*Its interval* is a bootstrap's over conversations: pairs are drawn with replacement, and the interval
reaches between two percentiles of the drawn means. On few conversations the plain percentiles are too
close to each other; T. C. Hesterberg, "What Teachers Should Know About the Bootstrap", The American
Statistician 69, 2015, widens them to what Student's t asks for. In simulations of 40 to 200
conversations it held the true difference in 94 to 96 % of draws, and of 10 or 20 in 93 % and more unless
hardly any differed: with two or three that did, in as few as 64 %. If no conversation differs
it is 0–0; if all differ alike there is no spread to resample, and no interval. From 20,000 conversations on
it is Student's t interval, from which the bootstrap's then differs by less than chance in the resampling.

*The p-value* is McNemar's exact one for binary outcomes, and the sign-flip test's for numbers, means over
epochs included: see `significance`.

The same outcomes and seed give the same figures, in any order; exchanging A and B changes the sign only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.reporting.comparison.models import (
    Measure,
    MeasureComparison,
    PairedDifference,
    Test,
)
from crm_assets.reporting.comparison.power import detectable_difference, detectable_share
from crm_assets.reporting.comparison.significance import LARGE, mcnemar, sign_flip
from crm_assets.reporting.figures import tidy
from crm_assets.reporting.intervals import Interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "DEFAULT_RESAMPLES",
    "Pair",
    "bootstrap_interval",
    "compare_measure",
    "paired_difference",
    "significant_digits",
]

DEFAULT_RESAMPLES = 10_000
_CHUNK = 1 << 20  # conversations drawn at a time
_FEW_VALUES = 64  # different differences up to which their numbers are drawn rather than conversations


class Pair(NamedTuple):
    """One conversation's outcomes in both runs."""

    conversation: str
    a: float
    b: float


class _Tested(NamedTuple):
    test: Test
    p_value: float
    mid_p_value: float | None
    detectable: float | None


def compare_measure(
    a: Floats, b: Floats, measure: Measure, *, seed: int, resamples: int
) -> MeasureComparison:
    """Compare two runs by `measure`.

    Args:
        a: run A's outcomes, one per conversation that both ran, in the order of their IDs; NaN for none.
        b: run B's, of the same conversations.
        measure: the measure.
        seed: of all resampling.
        resamples: of the interval, and of a p-value that is not exact.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    missing_a, missing_b = np.isnan(a), np.isnan(b)
    decided = ~(missing_a | missing_b)
    return MeasureComparison(
        measure=measure,
        paired=_difference(a[decided], b[decided], seed=seed, resamples=resamples),
        without_verdict=len(a) - int(decided.sum()),
        without_verdict_a=int(missing_a.sum()),
        without_verdict_b=int(missing_b.sum()),
    )


def paired_difference(
    pairs: Sequence[Pair], *, seed: int, resamples: int = DEFAULT_RESAMPLES
) -> PairedDifference:
    """Return the difference B − A over `pairs`, its interval, p-value, and detectable difference.

    Args:
        pairs: one per conversation, only those with a verdict in both runs.
        seed: of all resampling.
        resamples: of the interval, and of a p-value that is not exact.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    pairs = sorted(pairs)  # sessions finish in any order, and no figure may depend on it
    a, b = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (1, 2))
    return _difference(a, b, seed=seed, resamples=resamples)


def _difference(a: Floats, b: Floats, *, seed: int, resamples: int) -> PairedDifference:
    count, differences = len(a), b - a
    interval = bootstrap_interval(differences, seed=seed, resamples=resamples)
    tested = _test(a, b, seed=seed, resamples=resamples) if count else None
    return PairedDifference(
        conversations=count,
        mean_a=tidy(_mean(a)),
        mean_b=tidy(_mean(b)),
        difference=tidy(_mean(differences)),
        low=tidy(interval.low if interval else None),
        high=tidy(interval.high if interval else None),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        test=tested.test if tested else None,
        p_value=significant_digits(tested.p_value if tested else None),
        mid_p_value=significant_digits(tested.mid_p_value if tested else None),
        detectable_difference=tidy(tested.detectable if tested else None),
    )


def _test(a: Floats, b: Floats, *, seed: int, resamples: int) -> _Tested:
    count, differences = len(a), b - a
    # Values of 0 and 1 only: McNemar's test applies, and equals the sign-flip test.
    if all(bool(((each == 0) | (each == 1)).all()) for each in (a, b)):
        better, worse = int((differences > 0).sum()), int((differences < 0).sum())
        found = mcnemar(better, worse)
        share = detectable_share(count, (better + worse) / count)
        return _Tested("mcnemar_exact", found.p_value, found.mid_p_value, share)
    flipped = sign_flip(differences.tolist(), seed=seed, resamples=resamples)
    return _Tested(flipped.test, flipped.p_value, None, detectable_difference(count, _stddev(differences)))


def _mean(values: Floats) -> float | None:
    return math.fsum(values.tolist()) / len(values) if len(values) else None


def _stddev(values: Floats) -> float:
    if values.min() == values.max():
        return 0.0
    mean = math.fsum(values.tolist()) / len(values)
    return math.sqrt(math.fsum(((values - mean) ** 2).tolist()) / (len(values) - 1))


def bootstrap_interval(
    differences: Sequence[float] | Floats, *, seed: int, resamples: int = DEFAULT_RESAMPLES
) -> Interval | None:
    """Return the 95 % interval of the mean of `differences`, one per conversation."""
    import numpy as np  # noqa: PLC0415  (heavy)

    values = np.asarray(differences, dtype=np.float64)
    if not values.any():
        return Interval(0.0, 0.0) if len(values) else None
    if values.min() == values.max():
        return None
    count, mean = len(values), math.fsum(values.tolist()) / len(values)
    if count >= LARGE:
        half = t_quantile(count - 1) * _stddev(values) / math.sqrt(count)
        return Interval(mean - half, mean + half)
    means = _drawn_means(values, seed, resamples)
    tail = 0.5 * math.erfc(math.sqrt(count / (count - 1)) * t_quantile(count - 1) / math.sqrt(2))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(min(float(low), mean), max(float(high), mean))  # whatever rounding does


def _drawn_means(differences: Floats, seed: int, resamples: int) -> Floats:
    """Return the means of `resamples` draws with replacement."""
    import numpy as np  # noqa: PLC0415  (heavy)

    generator, count = np.random.default_rng(seed), len(differences)
    values, first, numbers = np.unique(differences, return_index=True, return_counts=True)
    if len(values) <= _FEW_VALUES:
        # How often each value is drawn is all that counts, and much quicker to draw. In the order in
        # which they first occur, so that exchanging the runs changes the sign and nothing else.
        order = np.argsort(first)
        drawn = generator.multinomial(count, numbers[order] / count, size=resamples)
        means: Floats = drawn @ values[order] / count
        return means
    means, rows = np.empty(resamples), max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = generator.integers(0, count, size=(stop - start, count), dtype=np.int32)
        means[start:stop] = differences[drawn].mean(axis=1)
    return means


def significant_digits(value: float | None, digits: int = 6) -> float | None:
    """Return a p-value with so many significant digits: never rounded to 0."""
    return None if value is None else float(f"{value:.{digits}g}")
