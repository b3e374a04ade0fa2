"""Tests for a difference between two runs, and their adjustment.

*McNemar's test, exact* (Q. McNemar, Psychometrika 12, 1947): of the conversations with different
outcomes, half should favor either run if the runs are equally good; the two-sided p-value is the
binomial one. The *mid-p* variant counts half of what was observed and is less conservative (M. W.
Fagerland, S. Lydersen and P. Laake, BMC Medical Research Methodology 13:91, 2013).

*The sign-flip test* (R. A. Fisher, "The Design of Experiments", 1935, §21) is the same for numbers: if
the runs are equally good, each conversation's difference could have had the other sign. All signs are
tried for up to 20 differences; beyond that, random ones, and the p-value is (1 + as extreme) /
(1 + tried), which is never 0 (B. Phipson and G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9:39, 2010). From
20,000 differences on it is the normal distribution's, to which that of the sums then is close. On binary
outcomes it equals McNemar's test.

*Holm's method* (S. Holm, Scand. J. Statistics 6, 1979) adjusts the p-values of a family of tests, however
they depend on each other.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

__all__ = ["LARGE", "McNemar", "SignFlip", "holm", "mcnemar", "sign_flip"]

LARGE: Final = 20_000
"""Conversations from which on a normal approximation is closer than resampling."""

_BITS = 256
_MOST_EXACT = 20  # differences with all signs tried: half a million sums
_CHUNK = 1 << 17  # signs drawn at a time: what fits in a cache is five times as quick
_TOLERANCE = 1e-9  # sums that are equal but for rounding are equal


class McNemar(NamedTuple):
    """The two-sided p-values of McNemar's test."""

    p_value: float
    """Exact."""
    mid_p_value: float
    """The mid-p value."""


class SignFlip(NamedTuple):
    """The two-sided p-value of the sign-flip test."""

    p_value: float
    test: Literal["sign_flip_exact", "sign_flip_monte_carlo", "sign_flip_normal"]
    """`exact`: all signs were tried."""


def mcnemar(better: int, worse: int) -> McNemar:
    """Run McNemar's exact test of `better` against `worse` discordant conversations.

    Raises:
        ValueError: a negative number of conversations.
    """
    if min(better, worse) < 0:
        raise ValueError(f"{better} and {worse} discordant conversations")
    fewer, count = min(better, worse), better + worse
    if not count:  # nothing observed, so no half of it to leave out
        return McNemar(1.0, 1.0)
    # Whole numbers, divided once: exact, but for digits of large ones that no float holds.
    term = math.comb(count, fewer)
    shift = max(0, term.bit_length() - _BITS)
    first = tail = term = term >> shift
    for index in range(fewer, 0, -1):
        term = term * index // (count - index + 1)
        if not term:
            break
        tail += term
    outcomes = 1 << (count - shift)
    if 2 * fewer == count:  # both tails hold the middle
        return McNemar(1.0, 1 - first / (2 * outcomes))
    # What is too small for a float is still not 0.
    smallest = sys.float_info.min
    return McNemar(max(2 * tail / outcomes, smallest), max((2 * tail - first) / outcomes, smallest))


def sign_flip(differences: Sequence[float], *, seed: int, resamples: int) -> SignFlip:
    """Run the sign-flip test of the hypothesis that `differences` have mean 0.

    Args:
        differences: one per conversation; zeros have no effect.
        seed: of the random signs, if not all are tried.
        resamples: number of random sign assignments.
    """
    sizes = [abs(difference) for difference in differences if difference]
    observed = abs(math.fsum(differences))
    threshold = observed - _TOLERANCE * math.fsum(sizes)
    if len(sizes) <= _MOST_EXACT:
        return SignFlip(_share_of_all_signs(sizes, threshold), "sign_flip_exact")
    if len(sizes) >= LARGE:
        spread = math.sqrt(2 * math.fsum(size * size for size in sizes))
        return SignFlip(max(math.erfc(observed / spread), sys.float_info.min), "sign_flip_normal")
    extreme = _count_of_random_signs(sizes, threshold, seed, resamples)
    return SignFlip((1 + extreme) / (1 + resamples), "sign_flip_monte_carlo")


def _share_of_all_signs(sizes: Sequence[float], threshold: float) -> float:
    import numpy as np  # noqa: PLC0415

    if not sizes:
        return 1.0
    sums = np.array([sizes[0]])  # with the first sign turned, the same sums again, negated
    for size in sizes[1:]:
        sums = np.concatenate((sums + size, sums - size))
    return float((np.abs(sums) >= threshold).mean())


def _count_of_random_signs(sizes: Sequence[float], threshold: float, seed: int, resamples: int) -> int:
    import numpy as np  # noqa: PLC0415

    generator = np.random.default_rng(seed)
    weights, total, extreme = np.array(sizes), math.fsum(sizes), 0
    rows = max(1, _CHUNK // len(sizes))
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), -(-len(sizes) // 8))
        packed = generator.integers(0, 256, size=shape, dtype=np.uint8)
        signs = np.unpackbits(packed, axis=1, count=len(sizes))
        positive = signs.astype(np.float64) @ weights
        extreme += int((np.abs(2 * positive - total) >= threshold).sum())
    return extreme


def holm(p_values: Sequence[float]) -> list[float]:
    """Return `p_values` adjusted as one family, in the same order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
