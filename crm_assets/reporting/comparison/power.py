"""Minimum detectable differences.

The true difference that a test at level .05 finds with a power of 80 %, given the observed spread.
Smaller differences may exist.

*Binary outcomes.* With `n` conversations, a share `d` of them discordant and a true
difference `t` (`d` is at least `t`), the number `m` of discordant ones is binomial (n, d) and, of these,
those in favor binomial (m, (d + t) / 2d). The power of McNemar's exact test is the probability that both
together are where it rejects: S. W. Duffy, "Asymptotic and exact power for the McNemar test", Biometrics
40, 1984. R. J. Connor, Biometrics 43, 1987 gives the usual approximation, which is used from 20,000
conversations on; on few it overstates the power of the exact test.

*Numbers.* `(t + z) · s / √n` with Student's t at .975, the normal quantile `z` at .80 and the standard
deviation `s` of the conversations' differences: E. Miller, "Adding Error Bars to Evals", arXiv
2411.00640, 2024, for pairs of runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crm_assets.reporting.comparison.significance import LARGE
from crm_assets.reporting.intervals import t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "ALPHA",
    "POWER",
    "Z_LEVEL",
    "Z_POWER",
    "conversations_needed",
    "detectable_difference",
    "detectable_share",
    "mcnemar_power",
]

ALPHA = 0.05
POWER = 0.80
Z_LEVEL = 1.959963984540054  # standard normal quantile at .975
Z_POWER = 0.8416212335729143  # standard normal quantile at .80
_STEPS = 14  # of bisection: to a hundredth of a point
_SPREAD = 5.0  # standard deviations of the discordant number that are summed
_POINTS = (
    64  # of these numbers that are evaluated, evenly spread: power changes little from one to the next
)


def detectable_share(conversations: int, discordance: float) -> float | None:
    """Return the smallest difference of two shares that McNemar's exact test finds with 80 % power.

    Args:
        conversations: number with a verdict in both runs.
        discordance: the share of them with different outcomes.

    Returns None if even the largest difference is not detectable: fewer than six conversations.
    """
    low, high = 0.0, 1.0
    if conversations < 1 or mcnemar_power(conversations, 1.0, 1.0) < POWER:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = mcnemar_power(conversations, max(discordance, middle), middle) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def mcnemar_power(conversations: int, discordance: float, difference: float) -> float:
    """Return how often McNemar's exact test at level .05 rejects, given the true shares.

    Raises:
        ValueError: the difference is larger than the discordance, or no share.
    """
    import numpy as np  # noqa: PLC0415

    if not 0 <= difference <= discordance <= 1:
        raise ValueError(f"a difference of {difference} with a discordance of {discordance}")
    if discordance == 0:
        return 0.0
    if conversations >= LARGE:
        return _normal_power(conversations, discordance, difference)
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, conversations + 1)))))
    middle = conversations * discordance
    reach = _SPREAD * math.sqrt(middle * (1 - discordance)) + 1
    counts = np.arange(
        max(0, math.floor(middle - reach)), min(conversations, math.ceil(middle + reach)) + 1
    )
    counts = counts[:: len(counts) // _POINTS + 1]
    weights = np.exp(_log_binomial(counts, np.array([conversations]), discordance, logs))
    favor = (discordance + difference) / (2 * discordance)
    return float(np.sum(weights * _rejected(counts, favor, logs)) / np.sum(weights))


def _normal_power(conversations: int, discordance: float, difference: float) -> float:
    """Return the power by Connor's approximation."""
    center, reach = difference * math.sqrt(conversations), Z_LEVEL * math.sqrt(discordance)
    spread = math.sqrt(2 * max(discordance - difference**2, sys.float_info.min))
    return 0.5 * (math.erfc((reach - center) / spread) + math.erfc((reach + center) / spread))


def _rejected(counts: NDArray[np.int64], favor: float, logs: Floats) -> Floats:
    """Return, for each number of discordant conversations, the probability that the test rejects."""
    import numpy as np  # noqa: PLC0415

    fewer = np.arange(int(counts[-1]) // 2 + 1)[:, None]
    fair = np.exp(_log_binomial(fewer, counts, 0.5, logs))
    critical = 2 * np.cumsum(fair, axis=0) <= ALPHA
    lower = np.exp(_log_binomial(fewer, counts, favor, logs))
    upper = np.exp(_log_binomial(fewer, counts, 1 - favor, logs))
    rejected: Floats = np.sum(np.where(critical, lower + upper, 0.0), axis=0)
    return rejected


def _log_binomial(hits: NDArray[np.int64], trials: NDArray[np.int64], share: float, logs: Floats) -> Floats:
    """Return the log of the binomial probability of `hits` in `trials`; -inf for the impossible."""
    import numpy as np  # noqa: PLC0415

    possible = hits <= trials
    misses = np.where(possible, trials - hits, 0)
    ways = logs[trials] - logs[np.where(possible, hits, 0)] - logs[misses]
    chance = _times_log(hits, share) + _times_log(misses, 1 - share)
    return np.where(possible, ways + chance, -np.inf)


def _times_log(count: NDArray[np.int64], share: float) -> Floats:
    """Return `count · log(share)`, where 0 · log(0) is 0."""
    import numpy as np  # noqa: PLC0415

    if share <= 0:
        return np.where(count == 0, 0.0, -np.inf)
    return np.asarray(count * math.log(share), dtype=np.float64)


def detectable_difference(conversations: int, stddev: float) -> float | None:
    """Return the smallest mean difference found with 80 % power; None without a spread."""
    if conversations < 2 or stddev == 0:  # noqa: PLR2004  (a spread needs two)
        return None
    return (t_quantile(conversations - 1) + Z_POWER) * stddev / math.sqrt(conversations)


def conversations_needed(differences: Sequence[float]) -> int | None:
    """Return how many conversations find a mean difference as observed with 80 % power, at level .05.

    `((t + z) · s / d)²` with the observed mean `d` and standard deviation `s` of the conversations'
    differences, `t` for that many conversations (see the top of this module). It is right only as far as
    the
    observed difference is: from few conversations it is a rough plan.

    Returns None without a difference, or without a spread.
    """
    count = len(differences)
    mean = math.fsum(differences) / count if count else 0.0
    if count < 2 or mean == 0 or min(differences) == max(differences):  # noqa: PLR2004  (a spread needs two)
        return None
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in differences) / (count - 1))
    low, high = 2, 2
    while not _finds(high, mean, spread):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _finds(middle, mean, spread) else (middle, high)
    return high


def _finds(conversations: int, mean: float, spread: float) -> bool:
    detectable = detectable_difference(conversations, spread)
    return detectable is not None and detectable <= abs(mean)
