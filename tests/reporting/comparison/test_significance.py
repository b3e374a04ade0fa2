from __future__ import annotations

import itertools
import math
import random
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.reporting.comparison import significance
from crm_assets.reporting.comparison.significance import holm, mcnemar, sign_flip

# Heights of 15 pairs of maize plants, crossed minus self-fertilized, in eighths of an inch: Darwin's
# data, in R. A. Fisher, The Design of Experiments, §17.
DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)

SMALL = st.integers(min_value=0, max_value=8)


def test_mcnemar_agrees_with_the_literature() -> None:
    # Fagerland, Lydersen and Laake 2013, table 1: airway hyper-responsiveness, 1 against 7.
    exact, mid = mcnemar(1, 7)
    assert (round(exact, 4), round(mid, 4)) == (0.0703, 0.0391)


@given(SMALL, SMALL)
def test_mcnemar_is_what_counting_all_outcomes_gives(better: int, worse: int) -> None:
    count, seen = better + worse, abs(better - worse)
    outcomes = [abs(sum(signs)) for signs in itertools.product((1, -1), repeat=count)]
    assert mcnemar(better, worse).p_value == sum(each >= seen for each in outcomes) / len(outcomes)
    observed = math.comb(count, better) / 2**count * (1 if better == worse else 2)
    if count:
        assert mcnemar(better, worse).mid_p_value == pytest.approx(
            mcnemar(better, worse).p_value - observed / 2
        )


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_has_no_favourite(better: int, worse: int) -> None:
    found = mcnemar(better, worse)
    assert found == mcnemar(worse, better)
    assert 0 < found.mid_p_value <= found.p_value <= 1


def test_mcnemar_of_nothing_different_is_1() -> None:
    assert mcnemar(0, 0) == (1.0, 1.0)


def test_mcnemar_of_very_many_is_small_and_not_0() -> None:
    assert 0 < mcnemar(0, 20_000).p_value < 1e-300
    assert mcnemar(10_000, 10_050).p_value == pytest.approx(0.7293, abs=5e-4)  # normal: z = 49 / √20050


@pytest.mark.parametrize(("better", "worse"), [(1200, 1300), (600, 900), (2000, 2000), (3, 5000)])
def test_mcnemar_of_many_is_the_sum_of_the_tail(better: int, worse: int) -> None:
    """Digits that no float holds are left out of numbers that have thousands of them."""
    count, fewer = better + worse, min(better, worse)
    tail = Fraction(sum(math.comb(count, each) for each in range(fewer + 1)), 2**count)
    middle = Fraction(math.comb(count, fewer), 2**count)
    expected = (1.0, 1 - middle / 2) if better == worse else (2 * tail, 2 * tail - middle)
    smallest = sys.float_info.min
    assert mcnemar(better, worse) == tuple(max(float(each), smallest) for each in expected)


def test_mcnemar_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError, match="-1"):
        mcnemar(-1, 3)


def test_the_sign_flip_test_agrees_with_fisher() -> None:
    # §21: of the 32,768 sums, 863 are as large as the observed one, and 863 as small as its negative.
    found = sign_flip(DARWIN, seed=0, resamples=1)
    assert found.test == "sign_flip_exact"
    assert found.p_value == 2 * 863 / 2**15


@given(SMALL, SMALL, st.integers(0, 5))
def test_on_yes_and_no_the_sign_flip_test_is_mcnemars(better: int, worse: int, same: int) -> None:
    differences = [1.0] * better + [-1.0] * worse + [0.0] * same
    found = sign_flip(differences, seed=0, resamples=1)
    assert found.p_value == pytest.approx(mcnemar(better, worse).p_value)


def test_drawn_signs_come_close_to_all_signs() -> None:
    generator = random.Random(3)
    small = [generator.gauss(0.4, 1) for _ in range(20)]
    exact = sign_flip(small, seed=0, resamples=1)
    # One difference more than are all tried, and one that cannot matter.
    drawn = sign_flip([*small, 1e-12], seed=1, resamples=100_000)
    assert (exact.test, drawn.test) == ("sign_flip_exact", "sign_flip_monte_carlo")
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.005)


def test_the_normal_distribution_comes_close_to_drawn_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(5)
    differences = [generator.gauss(0.08, 1) for _ in range(400)]
    drawn = sign_flip(differences, seed=1, resamples=20_000)
    monkeypatch.setattr(significance, "LARGE", 400)
    normal = sign_flip(differences, seed=1, resamples=1)
    assert (drawn.test, normal.test) == ("sign_flip_monte_carlo", "sign_flip_normal")
    assert normal.p_value == pytest.approx(drawn.p_value, abs=0.01)
    assert sign_flip([1.0] * 5000, seed=1, resamples=1).p_value > 0


def test_drawn_signs_depend_on_the_seed_alone_and_never_give_0() -> None:
    differences = [1.0 + index / 100 for index in range(40)]
    assert sign_flip(differences, seed=1, resamples=999).p_value == 1 / 1000
    mixed = [(-1) ** index * (1.0 + index / 100) for index in range(40)]
    once, again, other = (sign_flip(mixed, seed=seed, resamples=999) for seed in (1, 1, 2))
    assert once == again
    assert once != other


@pytest.mark.parametrize("count", [5, 30])
def test_differences_of_0_count_for_neither_side(count: int) -> None:
    some = [0.1 * (index % 3) - 0.05 for index in range(count)]
    assert sign_flip([*some, 0.0, 0.0], seed=1, resamples=500) == sign_flip(some, seed=1, resamples=500)
    assert sign_flip([0.0] * count, seed=1, resamples=500) == (1.0, "sign_flip_exact")


def test_holm_agrees_with_hand_and_r() -> None:
    # p.adjust(c(.01, .04, .03, .005), "holm") in R.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(one <= other <= 1 for one, other in zip(p_values, adjusted, strict=True))
    ranked = [other for _, other in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)
