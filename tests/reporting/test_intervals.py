from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.reporting import wilson_interval
from crm_assets.reporting.intervals import Tally, estimate_mean, estimate_rate, t_quantile

counts = st.integers(min_value=1, max_value=10_000)
conversations = st.lists(
    st.integers(min_value=1, max_value=10).flatmap(
        lambda n: st.tuples(st.integers(min_value=0, max_value=n), st.just(n))
    ),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I: method 3, the score method.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # The ends: z² / (n + z²) from either side.
        (0, 10, 0.0000, 0.2775),
        (10, 10, 0.7225, 1.0000),
    ],
)
def test_wilson_agrees_with_the_literature(successes: int, count: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, count)
    assert interval is not None
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_of_nothing_is_nothing() -> None:
    assert wilson_interval(0, 0) is None


def test_wilson_touches_the_ends_exactly() -> None:
    for count in range(1, 200):
        none, all_ = wilson_interval(0, count), wilson_interval(count, count)
        assert none is not None and none.low == 0.0
        assert all_ is not None and all_.high == 1.0


@pytest.mark.parametrize(("successes", "count"), [(-1, 3), (4, 3), (1, 0), (0, -1)])
def test_wilson_refuses_impossible_counts(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match="successes among"):
        wilson_interval(successes, count)


@given(counts, st.data())
def test_wilson_holds_the_estimate_within_0_and_1(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(min_value=0, max_value=count))
    interval = wilson_interval(successes, count)
    assert interval is not None
    assert 0.0 <= interval.low <= successes / count <= interval.high <= 1.0
    assert interval.low < interval.high


@given(counts, st.data(), st.integers(min_value=2, max_value=9))
def test_wilson_narrows_with_more_of_the_same(count: int, data: st.DataObject, times: int) -> None:
    successes = data.draw(st.integers(min_value=0, max_value=count))
    few, many = wilson_interval(successes, count), wilson_interval(successes * times, count * times)
    assert few is not None and many is not None
    assert many.high - many.low < few.high - few.low


@given(conversations)
def test_clustered_interval_holds_the_estimate_within_0_and_1(
    pairs: list[tuple[int, int]],
) -> None:
    estimate = estimate_rate(Tally.of(pairs))
    assert estimate.value is not None and estimate.interval is not None
    assert 0.0 <= estimate.interval.low <= estimate.value <= estimate.interval.high <= 1.0


@given(conversations)
def test_clustering_never_makes_a_rate_surer_than_independent_turns(
    pairs: list[tuple[int, int]],
) -> None:
    tally = Tally.of(pairs)
    estimate = estimate_rate(tally)
    independent = wilson_interval(tally.successes, tally.verdicts)
    assert estimate.interval is not None and independent is not None
    assert estimate.effective_count is not None
    assert 0 < estimate.effective_count <= tally.verdicts
    assert estimate.interval.low <= independent.low + 1e-12
    assert estimate.interval.high >= independent.high - 1e-12


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_one_verdict_a_conversation_is_plain_wilson(verdicts: list[bool]) -> None:
    estimate = estimate_rate(Tally.of((int(verdict), 1) for verdict in verdicts))
    plain = wilson_interval(sum(verdicts), len(verdicts))
    assert estimate.interval == pytest.approx(plain)


@given(conversations, st.randoms(use_true_random=False))
def test_order_of_conversations_changes_no_digit(
    pairs: list[tuple[int, int]], shuffler: random.Random
) -> None:
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    assert estimate_rate(Tally.of(shuffled)) == estimate_rate(Tally.of(pairs))


def test_effective_count_by_hand() -> None:
    # Two conversations a kind: (0 of 2), (2 of 2), so rate 1/2 and residuals ±1 of 4 turns each pair.
    tally = Tally.of([(0, 2), (2, 2), (0, 2), (2, 2)])
    variance = 4 / 3 * 4 / 8**2  # k/(k-1) × sum of squared residuals / turns²
    effective = 0.25 / variance * (1.959964 / 3.182446) ** 2
    assert estimate_rate(tally).effective_count == pytest.approx(effective, rel=1e-6)


def test_turns_that_all_went_alike_count_as_one_a_conversation() -> None:
    for successes in (0, 4):
        estimate = estimate_rate(Tally.of([(successes, 4)] * 25))
        assert estimate.effective_count == 25
        assert estimate.interval == wilson_interval(25 if successes else 0, 25)


def test_a_single_conversation_is_one_observation() -> None:
    estimate = estimate_rate(Tally.of([(3, 6)]))
    assert estimate.value == 0.5
    assert estimate.effective_count == 1


def test_a_rate_of_nothing_is_unknown() -> None:
    assert estimate_rate(Tally.of([(0, 0)])) == (None, None, None)


def test_intervals_hold_the_true_rate_where_turns_go_together() -> None:
    """Whole conversations fail or succeed together: Wilson on turns holds 59 % of the time here."""
    draw = random.Random(20250102)
    held = naive_held = 0
    for _ in range(600):
        pairs = []
        for _ in range(60):
            turns = draw.randint(1, 8)
            pairs.append((turns if draw.random() < 0.8 else 0, turns))
        tally = Tally.of(pairs)
        estimate = estimate_rate(tally)
        naive = wilson_interval(tally.successes, tally.verdicts)
        assert estimate.interval is not None and naive is not None
        held += estimate.interval.low <= 0.8 <= estimate.interval.high
        naive_held += naive.low <= 0.8 <= naive.high
    assert 0.92 <= held / 600 <= 0.98
    assert naive_held / 600 < 0.75  # else this test would not show anything


@pytest.mark.parametrize(
    ("degrees", "expected"),
    # Student's t at .975, from any table.
    [(1, 12.706), (2, 4.303), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (100, 1.984)],
)
def test_t_quantile_agrees_with_the_tables(degrees: int, expected: float) -> None:
    assert t_quantile(degrees) == pytest.approx(expected, abs=6e-4)


def test_t_quantile_falls_towards_the_normal_one() -> None:
    quantiles = [t_quantile(degrees) for degrees in range(1, 300)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert t_quantile(10**6) == pytest.approx(1.959964, abs=1e-5)
    with pytest.raises(ValueError, match="degree of freedom"):
        t_quantile(0)


def test_mean_by_hand() -> None:
    estimate = estimate_mean([0.2, 0.4, 0.6])
    assert estimate.mean == pytest.approx(0.4)
    assert estimate.stddev == pytest.approx(0.2)
    assert estimate.interval is not None
    assert estimate.interval.high - 0.4 == pytest.approx(4.302653 * 0.2 / math.sqrt(3), abs=1e-6)


def test_mean_of_a_bounded_value_stays_within_its_bounds() -> None:
    estimate = estimate_mean([0.0, 1.0, 1.0], at_least=0.0, at_most=1.0)
    assert estimate.interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "mean", "stddev"),
    [([], None, None), ([0.7], 0.7, None), ([0.7, 0.7, 0.7], 0.7, 0.0)],
)
def test_mean_claims_no_interval_without_a_spread(
    values: list[float], mean: float | None, stddev: float | None
) -> None:
    estimate = estimate_mean(values)
    assert estimate.mean == (None if mean is None else pytest.approx(mean))
    assert (estimate.stddev, estimate.interval) == (stddev, None)


@given(
    st.lists(st.floats(min_value=0, max_value=1), min_size=2, max_size=40),
    st.randoms(use_true_random=False),
)
def test_mean_does_not_depend_on_order(values: list[float], shuffler: random.Random) -> None:
    shuffled = list(values)
    shuffler.shuffle(shuffled)
    assert estimate_mean(shuffled) == estimate_mean(values)
