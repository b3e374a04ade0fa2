"""Drift: how far a reward is from those before it, and what becomes of the session."""

from __future__ import annotations

from statistics import fmean, median, pstdev

import pytest

from crm_assets.atlas.config import DriftConfig
from crm_assets.atlas.telemetry import Review, detect_drift, review

CONFIG = DriftConfig()
SCORES = [0.5, 0.6, 0.7, 0.8, 0.9]
WINDOW = [(score, 0.2 + score / 10) for score in SCORES]


def test_a_value_is_held_against_mean_and_median_of_the_window() -> None:
    drift = detect_drift(WINDOW, 0.2, 0.27, CONFIG)
    assert drift.score_delta == pytest.approx(0.2 - fmean(SCORES))
    assert drift.score_z == pytest.approx((0.2 - 0.7) / pstdev(SCORES))
    assert drift.score_mad_z == pytest.approx((0.2 - 0.7) / (0.1 * 1.4826))
    assert drift.uncertainty_delta == pytest.approx(0.0)
    assert drift.uncertainty_z == pytest.approx(0.0)
    assert (drift.alert, drift.reason) == (True, "score_z")
    assert drift.baseline.sample_count == 5
    assert drift.baseline.score_median == median(SCORES)


@pytest.mark.parametrize(("score", "alert"), [(0.28, False), (0.27, True), (1.12, False), (1.13, True)])
def test_three_deviations_are_too_far(score: float, alert: bool) -> None:
    assert pstdev(SCORES) == pytest.approx(0.1414, abs=1e-4)
    config = DriftConfig(z_threshold=3.0)
    drift = detect_drift([(value, 0.2) for value in SCORES], score, 0.2, config)
    assert drift.score_mad_z is not None
    # The MAD's unit is 0.148, so that the standard deviation decides here.
    assert abs(drift.score_mad_z) < abs(drift.score_z or 0.0)
    assert drift.alert is alert


def test_the_median_notices_what_outliers_hide_from_the_mean() -> None:
    scores = [0.9, 0.91, 0.92, 0.93, 0.94, 0.0, 0.0]
    drift = detect_drift([(score, 0.1) for score in scores], 0.5, 0.1, CONFIG)
    assert abs(drift.score_z or 0.0) < 3
    assert (drift.alert, drift.reason) == (True, "score_mad_z")


def test_uncertainty_alone_can_be_too_far() -> None:
    drift = detect_drift(WINDOW, 0.7, 0.9, CONFIG)
    assert (drift.alert, drift.reason) == (True, "uncertainty_z")


def test_too_few_say_nothing() -> None:
    drift = detect_drift(WINDOW[:4], 0.0, 1.0, CONFIG)
    assert (drift.alert, drift.reason, drift.score_z) == (False, "insufficient_baseline", None)
    assert drift.baseline.sample_count == 4


def test_it_can_be_switched_off() -> None:
    drift = detect_drift(WINDOW, 0.0, 1.0, DriftConfig(enabled=False))
    assert (drift.alert, drift.reason) == (False, "disabled")


def test_only_the_latest_of_the_window_count() -> None:
    late = [(0.5, 0.1), (0.6, 0.1), (0.5, 0.1), (0.6, 0.1), (0.5, 0.1)]
    drift = detect_drift([*late, *[(0.0, 0.1)] * 20], 0.0, 0.1, DriftConfig(window=5))
    assert drift.baseline.sample_count == 5
    assert drift.alert


@pytest.mark.parametrize(
    ("score", "alert"), [(0.9, False), (0.9 + 1e-12, False), (0.92, False), (0.86, True)]
)
def test_a_window_without_spread_knows_hundredths(score: float, alert: bool) -> None:
    drift = detect_drift([(0.9, 0.1)] * 6, score, 0.1, CONFIG)
    assert drift.score_z == pytest.approx((score - 0.9) / 0.01)
    assert drift.score_mad_z is None
    assert drift.alert is alert


def test_a_common_value_does_not_make_all_others_alerts() -> None:
    scores = [0.9, 0.9, 0.9, 0.9, 0.7, 0.6]
    drift = detect_drift([(score, 0.1) for score in scores], 0.75, 0.1, CONFIG)
    assert (drift.alert, drift.score_mad_z) == (False, None)


def test_what_is_stored_has_the_names_that_the_sdk_reads() -> None:
    document = detect_drift(WINDOW, 0.2, 0.27, CONFIG).document()
    assert document["drift_alert"] is True
    assert document["window"] == 50
    assert document["baseline"]["sample_count"] == 5


def test_an_alert_waits_for_a_person_whatever_is_configured() -> None:
    drift = detect_drift(WINDOW, 0.2, 0.27, CONFIG)
    for require_approval in (True, False):
        status, notes = review(drift, require_approval)
        assert status == "pending"
        assert notes == ("Drift: the score is 3.5 deviations below the mean (0.700) of the last 5 rewards.")
    above = review(detect_drift(WINDOW, 0.7, 0.9, CONFIG), False)
    assert above.notes is not None
    assert above.notes.startswith("Drift: the uncertainty is ")
    assert "above the mean (0.270)" in above.notes


def test_without_an_alert_the_configuration_decides() -> None:
    calm = detect_drift(WINDOW, 0.7, 0.27, CONFIG)
    assert review(calm, True) == Review("pending", None)
    assert review(calm, False) == Review("approved", None)
    assert review(None, False) == Review("approved", None)
