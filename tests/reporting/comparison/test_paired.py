from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.reporting.comparison import paired
from crm_assets.reporting.comparison.models import PairedDifference
from crm_assets.reporting.comparison.paired import (
    Pair,
    bootstrap_interval,
    compare_measure,
    paired_difference,
)

SHARES = st.sampled_from((0.0, 0.25, 0.5, 1.0))
PAIRS = st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=40)


def named(values: list[tuple[float, float]]) -> list[Pair]:
    return [Pair(f"c-{index:04d}", a, b) for index, (a, b) in enumerate(values)]


def measured(values: list[tuple[float, float]]) -> PairedDifference:
    return paired_difference(named(values), seed=7, resamples=200)


@given(PAIRS, st.randoms())
def test_the_order_of_conversations_does_not_matter(
    values: list[tuple[float, float]], shuffler: random.Random
) -> None:
    pairs = named(values)
    shuffler.shuffle(pairs)
    assert paired_difference(pairs, seed=7, resamples=200) == measured(values)


@pytest.mark.parametrize("few", [0, 64])
@given(PAIRS)
def test_exchanging_the_runs_turns_the_sign(few: int, values: list[tuple[float, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "_FEW_VALUES", few)  # both ways of drawing
        one, other = measured(values), measured([(b, a) for a, b in values])
    assert one.difference == pytest.approx(-(other.difference or 0.0))
    assert (one.better, one.worse, one.p_value) == (other.worse, other.better, other.p_value)
    assert (one.low is None) == (other.low is None)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high, abs=2e-6)


@given(PAIRS)
def test_the_interval_holds_the_difference(values: list[tuple[float, float]]) -> None:
    found = measured(values)
    if found.low is not None and found.high is not None and found.difference is not None:
        assert found.low <= found.difference <= found.high


@given(st.lists(SHARES, min_size=1, max_size=40))
def test_a_run_does_not_differ_from_itself(values: list[float]) -> None:
    found = measured([(value, value) for value in values])
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert (found.better, found.worse) == (0, 0)


def test_figures_are_those_of_hand() -> None:
    found = measured([(0, 1)] * 7 + [(1, 0)] + [(1, 1)] * 12)
    assert (found.conversations, found.better, found.worse) == (20, 7, 1)
    assert (found.mean_a, found.mean_b, found.difference) == (0.65, 0.95, 0.3)
    assert (found.test, found.p_value, found.mid_p_value) == ("mcnemar_exact", 0.0703125, 0.0390625)


def test_nothing_to_compare_is_nothing_rather_than_0() -> None:
    found = paired_difference([], seed=0)
    assert found.conversations == 0
    assert {found.difference, found.low, found.p_value, found.test, found.detectable_difference} == {None}


def test_where_all_differ_alike_there_is_no_interval() -> None:
    found = measured([(0.0, 1.0)] * 12)
    assert (found.difference, found.low, found.high) == (1.0, None, None)
    assert found.p_value == pytest.approx(2 / 2**12, rel=1e-5)


def test_numbers_are_tested_by_sign_flips() -> None:
    found = measured([(0.5, 0.75), (0.25, 1.0), (0.5, 0.5)])
    assert (found.test, found.p_value, found.mid_p_value) == ("sign_flip_exact", 0.5, None)
    many = measured([(index / 100, 0.5) for index in range(60)])
    assert many.test == "sign_flip_monte_carlo"


def test_a_seed_gives_the_same_interval_and_another_seed_another() -> None:
    generator = random.Random(1)
    differences = [generator.gauss(0, 1) for _ in range(100)]
    once, again, other = (bootstrap_interval(differences, seed=seed, resamples=300) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_both_ways_of_drawing_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [1.0] * 30 + [-1.0] * 12 + [0.0] * 58
    by_value = bootstrap_interval(differences, seed=1, resamples=40_000)
    monkeypatch.setattr(paired, "_FEW_VALUES", 0)
    by_conversation = bootstrap_interval(differences, seed=1, resamples=40_000)
    assert by_value is not None and by_conversation is not None
    assert by_value == pytest.approx(by_conversation, abs=0.006)


def _three_ways(generator: random.Random) -> float:
    return generator.choices((1.0, -1.0, 0.0), weights=(0.2, 0.1, 0.7))[0]


def _skewed(generator: random.Random) -> float:
    return generator.betavariate(2, 5) - generator.betavariate(2, 4)


@pytest.mark.parametrize("count", [40, 120])
@pytest.mark.parametrize(("draw", "true"), [(_three_ways, 0.1), (_skewed, 2 / 7 - 1 / 3)])
def test_the_interval_covers_the_truth_as_often_as_it_says(
    draw: Callable[[random.Random], float], true: float, count: int
) -> None:
    generator, draws, held = random.Random(11), 600, 0
    for seed in range(draws):
        interval = bootstrap_interval([draw(generator) for _ in range(count)], seed=seed, resamples=400)
        assert interval is not None
        held += interval.low <= true <= interval.high
    assert 0.92 <= held / draws <= 0.98


def test_students_interval_of_many_is_close_to_the_bootstraps(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(2)
    differences = [_skewed(generator) for _ in range(3000)]
    drawn = bootstrap_interval(differences, seed=1, resamples=5000)
    monkeypatch.setattr(paired, "LARGE", 3000)
    students = bootstrap_interval(differences, seed=1, resamples=1)
    assert drawn is not None and students is not None
    assert students == pytest.approx(drawn, abs=0.05 * (drawn.high - drawn.low))
    assert students == bootstrap_interval(differences, seed=2, resamples=2)


def test_what_has_no_verdict_is_counted_and_in_no_figure() -> None:
    a, b = np.array([1.0, np.nan, 1.0, np.nan]), np.array([0.0, 1.0, np.nan, np.nan])
    found = compare_measure(a, b, "state_match", seed=0, resamples=100)
    assert (found.without_verdict, found.without_verdict_a, found.without_verdict_b) == (3, 2, 2)
    assert (found.paired.conversations, found.paired.difference) == (1, -1.0)
    nothing = np.full(4, np.nan)
    assert compare_measure(nothing, b, "reward", seed=0, resamples=100).paired.conversations == 0
