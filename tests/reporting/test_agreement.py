"""AUC, kappa and intraclass correlation, against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from crm_assets.reporting.agreement import (
    Statistic,
    area_under_curve,
    cohens_kappa,
    intraclass_correlation,
    kappa_of,
)
from crm_assets.reporting.intervals import t_quantile


def floats(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def area(
    scores: Sequence[float],
    right: Sequence[int],
    clusters: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> Statistic:
    return area_under_curve(
        floats(scores),
        floats(right),
        floats(range(len(scores)) if clusters is None else clusters),
        floats([1.0] * len(scores) if weights is None else weights),
    )


def test_an_auc_is_the_share_of_pairs_in_order_with_ties_as_halves() -> None:
    # Right: 0.9, 0.6, 0.5; wrong: 0.6, 0.2. Of six pairs four are in order, one is a tie.
    assert area([0.9, 0.6, 0.5, 0.6, 0.2], [1, 1, 1, 0, 0]).value == pytest.approx(4.5 / 6)


def test_an_auc_of_one_class_is_undefined_and_not_zero() -> None:
    assert area([0.1, 0.9], [1, 1]) == (None, None) == area([0.1], [0]) == area([], [])


def test_an_auc_that_is_perfect_has_no_interval() -> None:
    assert area([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]) == (1.0, None)


def test_independent_clusters_give_the_variance_of_delong() -> None:
    # Structural components 1, .75, .5 and .5, 1: sample variances .0625 and .125 over 3 and 2.
    found = area([0.9, 0.6, 0.5, 0.6, 0.2], [1, 1, 1, 0, 0])
    assert found.interval is not None and found.value is not None
    variance = 0.0625 / 3 + 0.125 / 2
    half = t_quantile(1) * math.sqrt(variance) / (0.75 * 0.25)
    assert found.interval.low == pytest.approx(1 / (1 + math.exp(half - math.log(3))))
    assert found.interval.high == pytest.approx(1 / (1 + math.exp(-half - math.log(3))))


def test_sessions_of_one_conversation_make_an_auc_no_surer() -> None:
    scores, right = [0.9, 0.6, 0.5, 0.7, 0.6, 0.2], [1, 1, 1, 0, 0, 0]
    once = area(scores, right)
    four = area(scores * 4, right * 4, [*range(6)] * 4, [0.25] * 24)
    taken_for_others = area(scores * 4, right * 4)
    assert once.interval is not None and four.interval is not None and taken_for_others.interval is not None
    assert four.value == once.value
    assert four.interval == pytest.approx(once.interval)
    assert taken_for_others.interval.low > four.interval.low


def test_the_order_of_sessions_changes_no_digit_of_an_auc() -> None:
    rng = np.random.default_rng(0)
    scores, right = rng.random(60).round(2), rng.integers(0, 2, 60)
    clusters = rng.integers(0, 20, 60)
    shuffled = rng.permutation(60)
    assert area(scores, right, clusters) == area(scores[shuffled], right[shuffled], clusters[shuffled])


def test_cohens_kappa_of_a_textbook_table() -> None:
    # 35 of 50 alike, 25 expected of rates of 25 and 30 of 50; 60 of 100 alike, 54 expected of 60 and 70.
    assert cohens_kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert cohens_kappa(45, 15, 25, 15) == pytest.approx(0.1304, abs=5e-5)


def test_kappa_without_any_difference_in_words_is_undefined() -> None:
    assert cohens_kappa(7, 0, 0, 0) is None is cohens_kappa(0, 0, 0, 0)
    assert cohens_kappa(5, 0, 0, 5) == 1.0
    assert cohens_kappa(0, 5, 5, 0) == -1.0


def test_the_interval_of_kappa_is_the_jackknifes() -> None:
    cells = {(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}
    one = floats([a for (a, _), count in cells.items() for _ in range(count)])
    other = floats([b for (_, b), count in cells.items() for _ in range(count)])
    found = kappa_of(one, other, floats(range(50)), floats([1.0] * 50))
    without = []
    for cell, count in cells.items():
        left = {**cells, cell: count - 1}
        without += [cohens_kappa(*map(float, left.values()))] * count
    known = [each for each in without if each is not None]
    mean = sum(known) / 50
    half = t_quantile(49) * math.sqrt(49 / 50 * sum((each - mean) ** 2 for each in known))
    assert found.value == pytest.approx(0.4)
    assert found.interval == pytest.approx((0.4 - half, 0.4 + half))
    # Two verdicts a conversation: fewer observations, a wider interval.
    paired = kappa_of(one, other, floats([n // 2 for n in range(50)]), floats([1.0] * 50))
    assert paired.interval is not None and found.interval is not None
    assert paired.interval.high - paired.interval.low > found.interval.high - found.interval.low
    assert kappa_of(one, one, floats(range(50)), floats([1.0] * 50)) == (1.0, None)


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    # Their table 2: six targets, four judges; ICC(1,1) is .17.
    ratings = [9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7]
    targets = floats([n // 4 for n in range(24)])
    found = intraclass_correlation(floats(ratings), targets, targets)
    assert found.value == pytest.approx(0.166, abs=5e-4)
    assert found.interval is not None and found.interval.low < 0.166 < found.interval.high


def test_icc_of_scores_without_spread_or_of_one_subject_is_undefined() -> None:
    two = floats([0, 0, 1, 1])
    assert intraclass_correlation(floats([0.5] * 4), two, two) == (None, None)
    assert intraclass_correlation(floats([0.1, 0.9]), floats([0, 0]), floats([0, 0])) == (None, None)
    assert intraclass_correlation(floats([0.1, 0.1, 0.9, 0.9]), two, two) == (1.0, None)


def test_an_auc_of_clustered_data_has_obuchowskis_variance() -> None:
    # Three clusters of one right and one wrong: components 1, 1/3, 2/3 and 2/3, 1, 1/3 around 2/3, so
    # squares of 2/9 on both sides, products of -1/9: 1/27 + 1/27 - 1/27.
    found = area([0.9, 0.6, 0.5, 0.2, 0.7, 0.8], [1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2])
    half = t_quantile(2) * (1 / 27) ** 0.5 / (2 / 9)
    assert found.value == pytest.approx(2 / 3)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(1 / (1 + math.exp(half - math.log(2))))
    assert found.interval.high == pytest.approx(1 / (1 + math.exp(-half - math.log(2))))
