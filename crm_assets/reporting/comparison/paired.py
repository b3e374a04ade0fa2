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
it is 0–0; if all differ alike there is no spread to resample, and no interval.

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
    RunOutcome,
    Test,
)
from crm_assets.reporting.comparison.power import detectable_difference, detectable_share
from crm_assets.reporting.comparison.significance import mcnemar, sign_flip
from crm_assets.reporting.figures import tidy
from crm_assets.reporting.intervals import Interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    pairs: Sequence[tuple[RunOutcome, RunOutcome]], measure: Measure, *, seed: int, resamples: int
) -> MeasureComparison:
    """Compare two runs by `measure`, given the outcomes of the conversations that both ran."""
    values = [(a, a.value(measure), b.value(measure)) for a, b in pairs]
    decided = [
        Pair(outcome.conversation, a, b) for outcome, a, b in values if a is not None and b is not None
    ]
    return MeasureComparison(
        measure=measure,
        paired=paired_difference(decided, seed=seed, resamples=resamples),
        without_verdict=len(values) - len(decided),
        without_verdict_a=sum(a is None for _, a, _ in values),
        without_verdict_b=sum(b is None for _, _, b in values),
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
    pairs = sorted(pairs)  # sessions finish in any order, and no figure may depend on it
    count = len(pairs)
    differences = [pair.b - pair.a for pair in pairs]
    difference = math.fsum(differences) / count if count else None
    interval = bootstrap_interval(differences, seed=seed, resamples=resamples)
    tested = _test(pairs, differences, seed=seed, resamples=resamples) if count else None
    return PairedDifference(
        conversations=count,
        mean_a=tidy(math.fsum(pair.a for pair in pairs) / count if count else None),
        mean_b=tidy(math.fsum(pair.b for pair in pairs) / count if count else None),
        difference=tidy(difference),
        low=tidy(interval.low if interval else None),
        high=tidy(interval.high if interval else None),
        better=sum(each > 0 for each in differences),
        worse=sum(each < 0 for each in differences),
        test=tested.test if tested else None,
        p_value=significant_digits(tested.p_value if tested else None),
        mid_p_value=significant_digits(tested.mid_p_value if tested else None),
        detectable_difference=tidy(tested.detectable if tested else None),
    )


def _test(pairs: Sequence[Pair], differences: Sequence[float], *, seed: int, resamples: int) -> _Tested:
    count = len(pairs)
    # Values of 0 and 1 only: McNemar's test applies, and equals the sign-flip test.
    if all(value in (0.0, 1.0) for pair in pairs for value in (pair.a, pair.b)):
        better, worse = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
        found = mcnemar(better, worse)
        share = detectable_share(count, (better + worse) / count)
        return _Tested("mcnemar_exact", found.p_value, found.mid_p_value, share)
    flipped = sign_flip(differences, seed=seed, resamples=resamples)
    return _Tested(
        "sign_flip_exact" if flipped.exact else "sign_flip_monte_carlo",
        flipped.p_value,
        None,
        detectable_difference(count, _stddev(differences)),
    )


def _stddev(values: Sequence[float]) -> float:
    if min(values) == max(values):
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def bootstrap_interval(
    differences: Sequence[float], *, seed: int, resamples: int = DEFAULT_RESAMPLES
) -> Interval | None:
    """Return the 95 % interval of the mean of `differences`, one per conversation."""
    if not any(differences):
        return Interval(0.0, 0.0) if differences else None
    if min(differences) == max(differences):
        return None
    import numpy as np  # noqa: PLC0415

    count = len(differences)
    means = _drawn_means(np.array(differences, dtype=np.float64), seed, resamples)
    tail = 0.5 * math.erfc(math.sqrt(count / (count - 1)) * t_quantile(count - 1) / math.sqrt(2))
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = math.fsum(differences) / count  # rounding must not push it out of its own interval
    return Interval(min(float(low), mean), max(float(high), mean))


def _drawn_means(differences: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Return the means of `resamples` draws with replacement."""
    import numpy as np  # noqa: PLC0415

    generator, count = np.random.default_rng(seed), len(differences)
    values, first, numbers = np.unique(differences, return_index=True, return_counts=True)
    if len(values) <= _FEW_VALUES:
        # How often each value is drawn is all that counts, and much quicker to draw. In the order in
        # which they first occur, so that exchanging the runs changes the sign and nothing else.
        order = np.argsort(first)
        drawn = generator.multinomial(count, numbers[order] / count, size=resamples)
        means: NDArray[np.float64] = drawn @ values[order] / count
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
