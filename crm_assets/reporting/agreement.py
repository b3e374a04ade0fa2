"""Discrimination of scores and agreement of raters: AUC, kappa, intraclass correlation.

All intervals are 95 % and take the conversation as the unit: whatever its sessions and turns say goes
together.

*AUC* is the chance that what is right has a higher score than what is wrong, ties counted half: the
Mann-Whitney statistic (J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver
operating characteristic (ROC) curve", Radiology 143, 1982). Its variance is that of clustered data (N. A.
Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997), its interval is made
on the logit's scale (M. S. Pepe, "The Statistical Evaluation of Medical Tests for Classification and
Prediction", 2003, ch. 5) with Student's t of the rarer side's conversations.

*Cohen's kappa* is the agreement of two raters beyond what their rates alone would give (J. Cohen, "A
coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960).

*The intraclass correlation* ICC(1) is the share of the variance of single scores that lies between
subjects (P. E. Shrout and J. L. Fleiss, "Intraclass correlations: uses in assessing rater reliability",
Psychological Bulletin 86, 1979), for groups of unequal size as in S. R. Searle, G. Casella and C. E.
McCulloch, "Variance Components", 1992, ch. 3.

The last two have the jackknife's interval, which leaves out one conversation at a time (B. Efron and R. J.
Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 11), with Student's t. There is none where it
would be of width 0, as for raters that never differ: that does not predict the next conversation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.reporting.intervals import Interval, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

__all__ = [
    "Statistic",
    "area_under_curve",
    "cohens_kappa",
    "intraclass_correlation",
    "jackknife",
    "kappa_of",
    "summed_by",
]

_FEWEST_CLUSTERS = 2
_NOISE = 1e-12  # of a spread that is 0 but for rounding


class Statistic(NamedTuple):
    """A statistic with its interval; None for what is undefined."""

    value: float | None
    interval: Interval | None


def area_under_curve(scores: Numbers, right: Numbers, clusters: Numbers, weights: Numbers) -> Statistic:
    """Return the AUC of `scores` for `right`; undefined where all are right or all are wrong.

    Args:
        scores: one per session or turn.
        right: 1 or 0 for each.
        clusters: number of each one's conversation, from 0.
        weights: of each; equal weights give Obuchowski's estimates.
    """
    import numpy as np  # noqa: PLC0415  (heavy, as below)

    order = np.lexsort((clusters, right, scores))  # sums of floats depend on their order
    scores, owners, weights = scores[order], clusters[order].astype(np.int64), weights[order]
    yes = right[order] == 1
    if not len(scores) or yes.all() or not yes.any():
        return Statistic(None, None)
    above, below = scores[yes], scores[~yes]
    wins = _weight_below(above, below, weights[~yes])
    losses = 1.0 - _weight_below(below, above, weights[yes])  # the share of the right ones that are above
    number = int(owners.max()) + 1

    def sums(part: NDArray[np.bool_], values: Numbers) -> Numbers:
        return np.bincount(owners[part], weights=values, minlength=number).astype(np.float64)

    m, n = sums(yes, weights[yes]), sums(~yes, weights[~yes])
    x, y = sums(yes, weights[yes] * wins), sums(~yes, weights[~yes] * losses)
    area = math.fsum(x) / math.fsum(m)
    return Statistic(area, _area_interval(area, x - m * area, y - n * area, m, n))


def _weight_below(values: Numbers, others: Numbers, weights: Numbers) -> Numbers:
    """Return which share of the weight of `others`, sorted, each of `values` is above; ties count half."""
    import numpy as np  # noqa: PLC0415  (heavy)

    sums = np.concatenate(([0.0], np.cumsum(weights)))
    left, right = (sums[np.searchsorted(others, values, side)] for side in ("left", "right"))
    share: Numbers = (left + right) / 2 / sums[-1]
    return share


def _area_interval(area: float, x: Numbers, y: Numbers, m: Numbers, n: Numbers) -> Interval | None:
    """Return the interval of an AUC from sums over clusters, as deviations of what the AUC lets expect."""
    with_right, with_wrong, all_of_them = (int((each > 0).sum()) for each in (m, n, m + n))
    rarer = min(with_right, with_wrong)
    if rarer < _FEWEST_CLUSTERS or not 0 < area < 1:
        return None
    rights, wrongs = math.fsum(m), math.fsum(n)
    variance = (
        with_right / (with_right - 1) * math.fsum(x * x) / rights**2
        + with_wrong / (with_wrong - 1) * math.fsum(y * y) / wrongs**2
        + 2 * all_of_them / (all_of_them - 1) * math.fsum(x * y) / (rights * wrongs)
    )
    if variance <= _NOISE:
        return None
    half = t_quantile(rarer - 1) * math.sqrt(variance) / (area * (1 - area))
    middle = math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-min(max(each, -700), 700))) for each in (middle - half, middle + half))
    return Interval(min(low, area), max(high, area))


def cohens_kappa(yes_yes: float, yes_no: float, no_yes: float, no_no: float) -> float | None:
    """Return Cohen's kappa of a table of two raters' verdicts; None where both always say the same word.

    Args:
        yes_yes: how often both say yes.
        yes_no: how often the first says yes and the second no.
        no_yes: the reverse.
        no_no: how often both say no.
    """
    total = yes_yes + yes_no + no_yes + no_no
    if total <= 0:
        return None
    one, other = (yes_yes + yes_no) / total, (yes_yes + no_yes) / total
    expected = one * other + (1 - one) * (1 - other)
    if 1 - expected <= _NOISE:
        return None
    return ((yes_yes + no_no) / total - expected) / (1 - expected)


def kappa_of(one: Numbers, other: Numbers, clusters: Numbers, weights: Numbers) -> Statistic:
    """Return Cohen's kappa of two raters, given their verdicts, 1 or 0.

    Args:
        one: of the first rater.
        other: of the second.
        clusters: number of each verdict's conversation.
        weights: of each verdict.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    cells = [(one == a) & (other == b) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
    rows = np.stack([cell * weights for cell in cells], axis=1) if len(one) else np.zeros((0, 4))
    return jackknife(lambda sums: cohens_kappa(*sums), summed_by(clusters, rows), low=-1.0)


def intraclass_correlation(scores: Numbers, subjects: Numbers, clusters: Numbers) -> Statistic:
    """Return ICC(1) of scores by subject; undefined for fewer than two subjects, or without any spread.

    Args:
        scores: all of them.
        subjects: number of what each score was given to.
        clusters: number of the conversation of each score's subject.
    """
    import numpy as np  # noqa: PLC0415  (heavy)

    if not len(scores):
        return Statistic(None, None)
    order = np.lexsort((scores, subjects))
    scores, clusters = scores[order], clusters[order]
    starts = np.flatnonzero(np.diff(subjects[order], prepend=-1))
    sizes = np.diff(starts, append=len(scores)).astype(np.float64)
    means = np.add.reduceat(scores, starts) / sizes
    within = np.add.reduceat((scores - np.repeat(means, sizes.astype(np.int64))) ** 2, starts)
    rows = np.stack((np.ones(len(sizes)), sizes, sizes**2, sizes * means, sizes * means**2, within), axis=1)
    return jackknife(_icc, summed_by(clusters[starts], rows), low=-1.0)


def _icc(sums: Sequence[float]) -> float | None:
    subjects, scores, squared_sizes, total, between, within = sums
    if subjects < 2 or scores <= subjects:  # noqa: PLR2004  (without a second one nothing can be compared)
        return None
    mean_between = max(between - total**2 / scores, 0.0) / (subjects - 1)
    mean_within = within / (scores - subjects)
    size = (scores - squared_sizes / scores) / (subjects - 1)
    spread = mean_between + (size - 1) * mean_within
    return (mean_between - mean_within) / spread if spread > _NOISE else None


def summed_by(clusters: Numbers, rows: Numbers) -> Numbers:
    """Return the sums of `rows` by cluster, one row each, smallest first."""
    import numpy as np  # noqa: PLC0415  (heavy)

    if not len(rows):
        return rows
    order = np.lexsort((*rows.T, clusters))
    starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    sums: Numbers = np.add.reduceat(rows[order], starts, axis=0)
    return sums[np.lexsort(sums.T)]


def jackknife(
    statistic: Callable[[Sequence[float]], float | None],
    by_cluster: Numbers,
    *,
    low: float = -math.inf,
    high: float = 1.0,
) -> Statistic:
    """Return a statistic of sums over all clusters, and its interval.

    Args:
        statistic: of the sums; None where it is undefined.
        by_cluster: a row of sums for each cluster.
        low: the least that it can be.
        high: the most that it can be.
    """
    total = [math.fsum(column) for column in by_cluster.T]
    value, count = statistic(total) if len(by_cluster) else None, len(by_cluster)
    if value is None or count < _FEWEST_CLUSTERS:
        return Statistic(value, None)
    without = [statistic([t - r for t, r in zip(total, row, strict=True)]) for row in by_cluster.tolist()]
    known = [each for each in without if each is not None]
    if len(known) < count:
        return Statistic(value, None)  # it stands or falls with one conversation
    mean = math.fsum(known) / count
    variance = (count - 1) / count * math.fsum((each - mean) ** 2 for each in known)
    if variance <= _NOISE:
        return Statistic(value, None)
    half = t_quantile(count - 1) * math.sqrt(variance)
    return Statistic(value, Interval(max(value - half, low), min(value + half, high)))
