from __future__ import annotations

import math
import random

import pytest

from crm_assets.reporting.comparison import power
from crm_assets.reporting.comparison.power import detectable_difference, detectable_share, mcnemar_power
from crm_assets.reporting.comparison.significance import mcnemar


def enumerated_power(count: int, discordance: float, difference: float) -> float:
    """The same from the definition: over all numbers in favour of either run."""
    better, worse = (discordance + difference) / 2, (discordance - difference) / 2
    return sum(
        math.comb(count, b)
        * math.comb(count - b, w)
        * better**b
        * worse**w
        * (1 - discordance) ** (count - b - w)
        for b in range(count + 1)
        for w in range(count - b + 1)
        if mcnemar(b, w).p_value <= 0.05
    )


@pytest.mark.parametrize("count", [3, 6, 17, 40])
@pytest.mark.parametrize(
    ("discordance", "difference"), [(1.0, 1.0), (0.5, 0.3), (0.2, 0.2), (0.3, 0.0), (1.0, 0.4)]
)
def test_power_is_what_its_definition_gives(count: int, discordance: float, difference: float) -> None:
    expected = enumerated_power(count, discordance, difference)
    assert mcnemar_power(count, discordance, difference) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("difference", [-0.1, 0.3])
def test_power_refuses_what_cannot_be(difference: float) -> None:
    with pytest.raises(ValueError, match="discordance"):
        mcnemar_power(10, 0.2, difference)


@pytest.mark.parametrize(("count", "discordance"), [(60, 0.4), (200, 0.2), (1000, 0.1)])
def test_the_smallest_difference_is_found_four_times_in_five(count: int, discordance: float) -> None:
    difference = detectable_share(count, discordance)
    assert difference is not None
    generator, found, draws = random.Random(1), 0, 1000
    better, worse = (discordance + difference) / 2, (discordance - difference) / 2
    for _ in range(draws):
        drawn = generator.choices((1, -1, 0), weights=(better, worse, 1 - discordance), k=count)
        found += mcnemar(drawn.count(1), drawn.count(-1)).p_value <= 0.05
    assert found / draws == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(("discordance", "difference"), [(0.2, 0.02), (0.2, 0.0), (0.05, 0.02), (1.0, 1.0)])
def test_connors_approximation_comes_close_with_many(
    discordance: float, difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = mcnemar_power(4000, discordance, difference)
    monkeypatch.setattr(power, "LARGE", 4000)
    assert mcnemar_power(4000, discordance, difference) == pytest.approx(exact, abs=0.03)


def test_the_smallest_difference_is_near_connors_approximation() -> None:
    count, discordance = 2000, 0.2
    difference = detectable_share(count, discordance)
    assert difference is not None
    root = 1.959964 * math.sqrt(discordance) + 0.841621 * math.sqrt(discordance - difference**2)
    assert root**2 / difference**2 == pytest.approx(count, rel=0.05)


def test_more_conversations_show_smaller_differences_and_very_few_show_none() -> None:
    assert [detectable_share(count, 0.1) for count in (0, 1, 5)] == [None, None, None]
    shown = [detectable_share(count, 0.1) or 2.0 for count in (6, 20, 100, 1000, 10_000)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] <= 1


def test_a_discordance_that_was_not_seen_does_not_promise_everything() -> None:
    # Eight of two hundred must come out differently, and all in the same direction.
    assert detectable_share(200, 0.0) == pytest.approx(0.0392, abs=0.0005)


def test_means_follow_millers_formula() -> None:
    assert detectable_difference(1000, 0.5) == pytest.approx(2.8 * 0.5 / math.sqrt(1000), rel=0.002)
    assert detectable_difference(1000, 0.0) is None
    assert detectable_difference(1, 0.5) is None
