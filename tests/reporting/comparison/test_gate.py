"""The gate: worse than the reference by more than a margin, not worse, or not known."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import get_args

import numpy as np
import pytest

from crm_assets.cli.gate import _MEASURES
from crm_assets.errors import InputError
from crm_assets.reporting.comparison.gate import gate_runs
from crm_assets.reporting.comparison.gate_junit import render_junit
from crm_assets.reporting.comparison.models import Measure
from crm_assets.reporting.comparison.noninferiority import (
    conversations_to_decide,
    difference_interval,
    score_interval,
)

from .conftest import RUN_A, RUN_B, Baseline, verdicts

COUNT = 200
HALF = [index % 2 == 0 for index in range(COUNT)]
REVISION = {"dataset_revision": "5e" * 32}


def worsened(points: int) -> list[bool | None]:
    """HALF, less so many points of successes."""
    lost = [index for index, success in enumerate(HALF) if success][: points * COUNT // 100]
    return [success and index not in lost for index, success in enumerate(HALF)]


def test_a_planted_regression_of_ten_points_fails_and_the_run_itself_passes(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, verdicts(HALF)), baseline(RUN_B, verdicts(worsened(10)))
    found = gate_runs(a, b)
    assert (found.outcome, found.exit_code, found.paired.worse) == ("worse", 1, 20)
    assert found.summary.startswith(
        f"{RUN_B} is worse than {RUN_A} by more than 2 points on strict success"
    )
    assert "−10.0 points (95% interval −14.9 to −6.6) over 200 conversations." in found.summary
    itself = gate_runs(a, a)
    assert (itself.outcome, itself.exit_code, itself.low) == ("not_worse", 0, None)
    assert gate_runs(b, a).outcome == "not_worse"  # better


def test_what_few_conversations_leave_open_is_undecided_and_says_how_many_it_takes(
    baseline: Baseline,
) -> None:
    a, b = baseline(RUN_A, verdicts(HALF[:20])), baseline(RUN_B, verdicts(HALF[:20]))
    found = gate_runs(a, b)  # equal, yet another sample
    assert (found.outcome, found.exit_code, found.conversations_needed) == ("undecided", 2, 385)
    assert "20 conversations are too few to tell" in found.summary
    assert "about 385 would, if the difference stays as observed" in found.summary
    assert gate_runs(a, b, margin=25).outcome == "not_worse"


def test_no_verdict_is_neither_success_nor_failure(baseline: Baseline) -> None:
    silent: list[bool | None] = [None] * 20 + [bool(each) for each in HALF[20:]]
    a, b = baseline(RUN_A, verdicts(HALF)), baseline(RUN_B, verdicts(silent))
    found = gate_runs(a, b, margin=3)
    assert (found.outcome, found.paired.conversations, found.without_verdict) == ("not_worse", 180, 20)
    assert found.summary.endswith("Left out: 20 without a verdict.")
    nothing = gate_runs(a, baseline(RUN_B, verdicts([None] * COUNT)))
    assert (nothing.outcome, nothing.conversations_needed) == ("undecided", None)
    assert "No conversation has a verdict on strict success in both runs" in nothing.summary


def test_what_compare_refuses_is_refused(baseline: Baseline) -> None:
    a = baseline(RUN_A, verdicts(HALF))
    b = baseline(RUN_B, verdicts(HALF, meta={"dataset_revision": "6f" * 32}))
    with pytest.raises(InputError, match="The dataset changed between runs"):
        gate_runs(a, b)


def test_the_junit_document_is_read_back(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, verdicts(HALF)), baseline(RUN_B, verdicts(worsened(10)))
    suites = ET.fromstring(render_junit(gate_runs(a, b)).encode())
    failure = suites.find("testsuite/testcase/failure")
    assert failure is not None and failure.get("message", "").startswith(f"{RUN_B} is worse")
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("1", "1", "0")
    passed = ET.fromstring(render_junit(gate_runs(a, a)).encode())
    assert passed.find("testsuite/testcase/failure") is None and passed.get("failures") == "0"


@pytest.mark.parametrize(("better", "worse", "count"), [(12, 2, 44), (0, 20, 200), (0, 0, 30), (7, 9, 50)])
def test_at_each_end_of_the_interval_the_score_test_is_at_its_level(
    better: int, worse: int, count: int
) -> None:
    """With the share that the likelihood, searched by itself, is largest for."""

    def statistic(difference: float) -> float:
        only_a = np.linspace(max(0.0, -difference), min(1.0, (1 - difference) / 2), 400_001)[1:-1]
        equal = count - better - worse
        likelihood = (
            better * np.log(only_a + difference)
            + worse * np.log(only_a)
            + equal * np.log(np.maximum(1 - difference - 2 * only_a, 1e-300))
        )
        best = only_a[likelihood.argmax()]
        variance = count * (2 * best + difference - difference**2)
        return float((better - worse - count * difference) / variance**0.5)

    low, high = score_interval(better, worse, count)
    assert statistic(low) == pytest.approx(1.96, abs=0.002)
    assert statistic(high) == pytest.approx(-1.96, abs=0.002)


def test_the_claims_are_wrong_at_most_as_often_as_stated() -> None:
    """At a true difference of exactly the margin."""
    random = np.random.default_rng(7)
    drawn = random.multinomial(COUNT, [0.05, 0.10, 0.85], size=2000)  # better, worse, equal: −5 points
    kinds = {tuple(row[:2]) for row in drawn.tolist()}
    ends = {kind: score_interval(*kind, COUNT) for kind in kinds}
    intervals = [ends[tuple(row[:2])] for row in drawn.tolist()]
    assert 0.01 < np.mean([each.low > -0.05 for each in intervals]) < 0.04
    assert 0.01 < np.mean([each.high < -0.05 for each in intervals]) < 0.045


def test_numbers_have_students_interval_that_equal_ones_do_not_shrink() -> None:
    a = np.linspace(0.2, 0.8, 50)
    equal = difference_interval(a, a)
    assert equal.high == -equal.low == pytest.approx(1.96**2 / (50 + 1.96**2), abs=1e-4)
    a = np.linspace(0.2, 0.8, 500)
    b = a + np.where(np.arange(500) % 2, 0.2, -0.1)
    half = 1.9647 * (b - a).std(ddof=1) / 500**0.5
    assert difference_interval(a, b) == pytest.approx((0.05 - half, 0.05 + half), abs=1e-5)
    # (1.96 + 0.84)² / (n + (1.96 + 0.84)²) is less than 5 + 2 points from there on.
    assert conversations_to_decide(a, b, 0.02) == 105


def test_the_command_offers_every_measure() -> None:
    assert get_args(Measure) == _MEASURES
