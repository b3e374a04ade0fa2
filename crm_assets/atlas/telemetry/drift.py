"""Drift detection: is a session's reward far from the past rewards of its learning key?

The value is compared with a window of past ones in two ways: in population standard deviations from the
mean (z), and in normalized median absolute deviations from the median (MAD z, after Iglewicz and Hoaglin,
"How to Detect and Handle Outliers", 1993), which is robust against outliers in the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median, pstdev
from typing import Literal, NamedTuple

from crm_assets.atlas.config import DriftConfig

__all__ = ["Baseline", "Drift", "Review", "ReviewStatus", "detect_drift", "review"]

ReviewStatus = Literal["pending", "approved", "quarantined"]

_MAD_TO_STDDEV = 1.4826
"""Converts the MAD of a normal distribution to its standard deviation."""

_RESOLUTION = 0.01
"""Lower bound of the spread: judges give scores in hundredths."""


@dataclass(frozen=True)
class Baseline:
    """The window that a session was compared with."""

    window: int
    """Its configured size."""
    sample_count: int
    """Its actual size."""
    score_mean: float | None = None
    score_median: float | None = None
    score_stddev: float | None = None
    uncertainty_mean: float | None = None
    uncertainty_median: float | None = None
    uncertainty_stddev: float | None = None


@dataclass(frozen=True)
class Drift:
    """Distance of a session's reward from those before it; names as in the SDK."""

    alert: bool
    reason: str | None
    """The first measure above the threshold (`score_z`, …), or `insufficient_baseline`, `disabled`."""
    baseline: Baseline
    threshold: float
    score_delta: float | None = None
    score_z: float | None = None
    score_mad_z: float | None = None
    """None where more than half of the window is one value."""
    uncertainty_delta: float | None = None
    uncertainty_z: float | None = None
    uncertainty_mad_z: float | None = None
    """None where more than half of the window is one value."""

    def document(self) -> dict[str, object]:
        """Return `metadata.drift` of a session."""
        return {**asdict(self), "drift_alert": self.alert, "window": self.baseline.window}


class Review(NamedTuple):
    """The review status of a session and its reason."""

    status: ReviewStatus
    notes: str | None


def detect_drift(
    window: Sequence[tuple[float, float]], score: float, uncertainty: float, config: DriftConfig
) -> Drift:
    """Compare a session's reward with those before it.

    A spread below 0.01 counts as 0.01. So if all past values are equal up to rounding, a value 0.03 away
    is an alert at the default threshold of 3, and a rounding error is not.

    Args:
        window: score and mean uncertainty of past sessions, latest first, without this one.
        score: of this session, 0–1.
        uncertainty: of this session's judgments, the mean, 0–1.
        config: thresholds; of `window`, the first `config.window` count.
    """
    past = window[: config.window]
    if not config.enabled or len(past) < config.min_baseline:
        reason = "insufficient_baseline" if config.enabled else "disabled"
        return Drift(False, reason, Baseline(config.window, len(past)), config.z_threshold)
    scores, uncertainties = [pair[0] for pair in past], [pair[1] for pair in past]
    distances = {
        "score_z": _z(score, scores),
        "score_mad_z": _mad_z(score, scores),
        "uncertainty_z": _z(uncertainty, uncertainties),
        "uncertainty_mad_z": _mad_z(uncertainty, uncertainties),
    }
    far = [name for name, z in distances.items() if z is not None and abs(z) >= config.z_threshold]
    return Drift(
        alert=bool(far),
        reason=far[0] if far else None,
        baseline=_baseline(config.window, scores, uncertainties),
        threshold=config.z_threshold,
        score_delta=score - fmean(scores),
        uncertainty_delta=uncertainty - fmean(uncertainties),
        **distances,
    )


def _z(value: float, past: Sequence[float]) -> float:
    return (value - fmean(past)) / max(pstdev(past), _RESOLUTION)


def _mad_z(value: float, past: Sequence[float]) -> float | None:
    middle = median(past)
    deviation = median(abs(other - middle) for other in past)
    if deviation == 0.0:
        return None  # any other value than the most common one would be infinitely far away
    return (value - middle) / max(deviation * _MAD_TO_STDDEV, _RESOLUTION)


def _baseline(window: int, scores: Sequence[float], uncertainties: Sequence[float]) -> Baseline:
    return Baseline(
        window=window,
        sample_count=len(scores),
        score_mean=fmean(scores),
        score_median=median(scores),
        score_stddev=pstdev(scores),
        uncertainty_mean=fmean(uncertainties),
        uncertainty_median=median(uncertainties),
        uncertainty_stddev=pstdev(uncertainties),
    )


def review(drift: Drift | None, require_approval: bool) -> Review:
    """Return the review status of a finished session: a drift alert is always pending.

    Args:
        drift: None for a session without a reward.
        require_approval: True if a person must approve every session.
    """
    if drift is not None and drift.alert:
        return Review("pending", _note(drift))
    return Review("pending" if require_approval else "approved", None)


def _note(drift: Drift) -> str:
    what = "score" if drift.reason in ("score_z", "score_mad_z") else "uncertainty"
    centre = "median" if drift.reason in ("score_mad_z", "uncertainty_mad_z") else "mean"
    distance = getattr(drift, str(drift.reason))
    usual = getattr(drift.baseline, f"{what}_{centre}")
    return (
        f"Drift: the {what} is {abs(distance):.1f} deviations {'above' if distance > 0 else 'below'} "
        f"the {centre} ({usual:.3f}) of the last {drift.baseline.sample_count} rewards."
    )
