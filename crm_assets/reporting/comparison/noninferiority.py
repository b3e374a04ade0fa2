"""Whether a run is worse than another by more than a margin.

The decision is made by the 95 % interval of the difference B − A over the conversations that have a
verdict in both runs. Above −margin as a whole: not worse. Below −margin as a whole: worse. Around it: not
known, which is neither (G. Piaggio et al., "Reporting of Noninferiority and Equivalence Randomized Trials",
JAMA 308, 2012). So each of the two claims is a one-sided test at level .025; to ask for no significant
difference alone would let any change pass that was measured on too few conversations.

*Binary outcomes* have the score interval of T. Tango, "Equivalence test and confidence interval for the
difference in proportions for the paired-sample design", Statistics in Medicine 17, 1998. Its test is
McNemar's, with a difference other than 0 in the hypothesis. Where no conversation differs, it still says
how much `n` equal ones leave open: z² / (n + z²). In simulations of 20,000 pairs of runs each, where the
true difference was the margin (2, 5 or 10 points), with 50 to 1,000 conversations and up to 40 % of them
discordant, it took the run for "not worse" in at most 2.7 % of the pairs, and for "worse" in at most 5.0 %.

*Numbers between 0 and 1* (means over epochs, rewards) have Student's t interval, and no end of it is closer
to the mean than equal outcomes would leave it: a spread of zero in a sample does not predict the next
conversation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from crm_assets.reporting.comparison.power import Z_LEVEL, Z_POWER
from crm_assets.reporting.intervals import Interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["conversations_to_decide", "difference_interval", "score_interval"]

_STEPS = 60  # of bisection
_MOST = 10_000_000  # conversations: beyond, no plan is of use

_IntervalOf = Callable[[float, float], Interval]
"""Takes a number of conversations, and standard normal deviations to add to those of the level."""


def difference_interval(a: Floats, b: Floats) -> Interval:
    """Return the 95 % interval of the mean of `b` − `a`.

    Args:
        a: run A's outcomes between 0 and 1, one per conversation, at least one.
        b: run B's, of the same conversations.
    """
    return _interval_of(a, b)(len(a), 0.0)


def conversations_to_decide(a: Floats, b: Floats, margin: float) -> int | None:
    """Return how many conversations decide with 80 % power, if difference and spread are as observed.

    Args:
        a: as for `difference_interval`.
        b: likewise.
        margin: between 0 and 1.

    Returns None if not even ten million do: the difference is at the margin.
    """
    interval_of = _interval_of(a, b)

    def decides(count: int) -> bool:
        interval = interval_of(count, Z_POWER)
        return not interval.low <= -margin <= interval.high

    low = high = 1
    while not decides(high):
        low, high = high, high * 2
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _interval_of(a: Floats, b: Floats) -> _IntervalOf:
    differences = b - a
    mean = math.fsum(differences.tolist()) / len(differences)
    if all(bool(((each == 0) | (each == 1)).all()) for each in (a, b)):
        better, worse = ((differences > 0).mean(), (differences < 0).mean())
        return partial(_scores, float(better), float(worse))
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return partial(_students, mean, spread)


def _scores(better: float, worse: float, count: float, power: float) -> Interval:
    return score_interval(better * count, worse * count, count, Z_LEVEL + power)


def score_interval(better: float, worse: float, count: float, z: float = Z_LEVEL) -> Interval:
    """Return Tango's score interval of the difference of two paired shares.

    Args:
        better: conversations in which B alone succeeded.
        worse: conversations in which A alone succeeded.
        count: all conversations.
        z: standard normal quantile of the level.
    """
    observed = (better - worse) / count

    def end(outside: float) -> float:
        inside = observed
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            if abs(_score(better, worse, count, middle)) < z:
                inside = middle
            else:
                outside = middle
        return outside

    return Interval(end(-1.0), end(1.0))


def _score(better: float, worse: float, count: float, difference: float) -> float:
    """Return Tango's statistic for a true `difference`, between -1 and 1."""
    half = (2 * count - better + worse) * difference - better - worse
    product = -worse * difference * (1 - difference)
    only_a = (math.sqrt(half * half - 8 * count * product) - half) / (4 * count)
    variance = count * (2 * only_a + difference * (1 - difference))
    distance = better - worse - count * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _students(mean: float, spread: float, count: float, power: float) -> Interval:
    least = (Z_LEVEL + power) ** 2
    half = least / (count + least)
    if count <= 1:
        return Interval(-1.0, 1.0)
    half = max(half, (t_quantile(int(count) - 1) + power) * spread / math.sqrt(count))
    return Interval(max(-1.0, mean - half), min(1.0, mean + half))
