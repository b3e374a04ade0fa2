"""Reliability of judges and teacher: their rewards and verdicts against the harness's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from crm_assets.reporting.agreement import area_under_curve, intraclass_correlation, kappa_of
from crm_assets.reporting.breakdowns import rate, session_means
from crm_assets.reporting.figures import Mean, tidy
from crm_assets.reporting.judge_models import (
    CalibrationBin,
    Coefficient,
    Confusion,
    EscalationChange,
    Escalations,
    JudgeFigures,
    RewardAgainst,
    RewardsOf,
    ScoreAgreement,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from crm_assets.reporting.frames import SessionFrames

__all__ = ["SIDES", "confusion", "judge_figures", "rewards_against"]

SIDES: Final = 0.5
"""The reward from which on a session counts as accepted, where a yes or no is needed."""

_BINS = 10
_VERDICTS = ("overall", "turns_right", "state", "valid", "first")
_QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def judge_figures(frames: SessionFrames) -> JudgeFigures | None:
    """Return what the judges and the teacher of a run are worth; None for a run without a loop."""
    sessions, turns = frames.sessions, frames.turns
    looped = (sessions["status"] == "succeeded") & (sessions["key"] != "(none)")
    # Copies of columns that are needed, not of frames that may have millions of rows.
    ran = sessions.loc[looped, ["session", "conversation", "reward", "attempts", *_VERDICTS]]
    if not len(ran):
        return None
    turns = turns.loc[turns["session"].isin(ran["session"]), ["session", "conversation", "success"]]
    turns = turns.assign(reward=sessions["reward"].to_numpy()[turns["session"]])
    # A second attempt is made only of what the teacher rejected.
    first = ran["valid"].mask(ran["attempts"] > 1, 0)
    return JudgeFigures(
        rewards={
            "strict_success": rewards_against(ran, "overall"),
            "turns_right": rewards_against(ran, "turns_right"),
            "state_match": rewards_against(ran, "state"),
            "turn_success": rewards_against(turns, "success"),
        },
        teacher_first=confusion(ran.assign(yes=first, right=ran["first"])),
        teacher_last=confusion(ran.assign(yes=ran["valid"], right=ran["overall"])),
        between_judges=_between_judges(ran, frames.judgments),
        between_epochs=_between_epochs(ran),
        escalations=_escalations(ran, frames),
    )


def rewards_against(rows: pd.DataFrame, verdict: str) -> RewardAgainst:
    """Return the rewards of sessions or turns against their verdicts.

    Args:
        rows: with columns `session`, `conversation`, `reward` (NaN for none) and the verdict.
        verdict: name of the verdict's column: 1, 0, or -1 for none.
    """
    columns = ["session", "conversation", "reward"]
    decided = (rows[verdict] >= 0) & rows["reward"].notna()
    known = rows.loc[decided, columns].assign(right=rows.loc[decided, verdict].astype("float64"))
    errors = (known["reward"] - known["right"]) ** 2
    share = _mean(session_means(known, known["right"]))
    of_share = _mean(session_means(known, (known["right"] - share) ** 2)) if share is not None else None
    bins, distance = _calibration(known)
    return RewardAgainst(
        right=_rewards_of(known[known["right"] == 1]),
        wrong=_rewards_of(known[known["right"] == 0]),
        auc=Coefficient.of(
            area_under_curve(
                known["reward"].to_numpy("float64"),
                known["right"].to_numpy("float64"),
                known["conversation"].to_numpy("float64"),
                _weights(known),
            )
        ),
        brier=Mean.of(session_means(known, errors), missing=0, at_least=0.0, at_most=1.0),
        brier_of_base_rate=tidy(of_share),
        calibration_error=tidy(distance),
        bins=bins,
    )


def _rewards_of(rows: pd.DataFrame) -> RewardsOf:
    means = session_means(rows, rows["reward"])
    quartiles = rows["reward"].quantile(list(_QUARTILES)).tolist() if len(rows) else None
    return RewardsOf(
        count=len(rows),
        mean=Mean.of(means, missing=0, at_least=0.0, at_most=1.0),
        quartiles=None if quartiles is None else tuple(round(each, 6) for each in quartiles),
    )


def _weights(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return a weight for each row, so that a conversation counts once, however many sessions it has."""
    sessions = rows.groupby("conversation")["session"].transform("nunique")
    return 1.0 / sessions.to_numpy("float64")


def _calibration(known: pd.DataFrame) -> tuple[tuple[CalibrationBin, ...], float | None]:
    """Return the bins, and the expected calibration error.

    The latter as in M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities
    using Bayesian binning", AAAI 2015, over bins of equal width.
    """
    # Rounded, so that the mean of three times 0.7 is in the bin of 0.7.
    places = (known["reward"] * _BINS).round(9).astype("int64").clip(upper=_BINS - 1).to_numpy()
    weights = _weights(known)
    bins, distances = [], []
    for place in sorted(set(places.tolist())):
        part = known[places == place]
        reward = _mean(session_means(part, part["reward"]))
        right = rate(part.astype({"right": "int8"}), "right")
        bins.append(
            CalibrationBin(low=place / _BINS, high=(place + 1) / _BINS, reward=tidy(reward), right=right)
        )
        distances.append(math.fsum(weights[places == place]) * abs((reward or 0.0) - (right.value or 0.0)))
    return tuple(bins), math.fsum(distances) / math.fsum(weights) if bins else None


def confusion(rows: pd.DataFrame) -> Confusion:
    """Return a rater's verdicts (`yes`) by another's (`right`), each 1, 0, or -1 for none."""
    known = rows.loc[(rows["yes"] >= 0) & (rows["right"] >= 0), ["session", "conversation", "yes", "right"]]
    yes, right = known["yes"] == 1, known["right"] == 1
    known = known.assign(same=(yes == right).astype("int8"))
    kappa = kappa_of(
        known["yes"].to_numpy("float64"),
        known["right"].to_numpy("float64"),
        known["conversation"].to_numpy("float64"),
        _weights(known),
    )
    return Confusion(
        yes_right=int((yes & right).sum()),
        yes_wrong=int((yes & ~right).sum()),
        no_right=int((~yes & right).sum()),
        no_wrong=int((~yes & ~right).sum()),
        without_verdict=len(rows) - len(known),
        agreement=rate(known, "same"),
        right_among_yes=rate(known[yes], "right"),
        yes_among_right=rate(known[right], "yes"),
        yes_among_wrong=rate(known[~right], "yes"),
        kappa=Coefficient.of(kappa),
    )


def _between_judges(ran: pd.DataFrame, judgments: pd.DataFrame) -> ScoreAgreement:
    rewarded = ran[ran["reward"].notna()]
    scores = judgments.merge(rewarded[["session", "conversation"]], on="session")
    return _agreement(scores.assign(subject=scores["session"]), rated=len(rewarded))


def _between_epochs(ran: pd.DataFrame) -> ScoreAgreement | None:
    if ran["conversation"].is_unique:
        return None
    rewarded = ran[ran["reward"].notna()]
    rows = rewarded.assign(subject=rewarded["conversation"], score=rewarded["reward"])
    return _agreement(rows, rated=int(rewarded["conversation"].nunique()))


def _agreement(rows: pd.DataFrame, *, rated: int) -> ScoreAgreement:
    """Return how far the scores (`score`) of each `subject` agree; `rated` subjects have any."""
    several = rows[rows.groupby("subject")["score"].transform("size") > 1]
    by_subject = several.groupby("subject").agg(
        conversation=("conversation", "first"), most=("score", "max"), least=("score", "min")
    )
    ranges = session_means(by_subject, by_subject["most"] - by_subject["least"])
    columns = (several[name].to_numpy("float64") for name in ("score", "subject", "conversation"))
    return ScoreAgreement(
        subjects=len(by_subject),
        scores=len(several),
        without=rated - len(by_subject),
        range=Mean.of(ranges, missing=0, at_least=0.0, at_most=1.0),
        icc=Coefficient.of(intraclass_correlation(*columns)),
    )


def _escalations(ran: pd.DataFrame, frames: SessionFrames) -> Escalations:
    rewarded = ran[ran["reward"].notna()]
    asked = frames.escalations[frames.escalations["session"].isin(rewarded["session"])]
    decided = rewarded[rewarded["session"].isin(asked.loc[asked["decided"] == 1, "session"])]
    small = frames.judgments.groupby("session")["score"].mean()
    both = decided.assign(small=decided["session"].map(small))
    both = both[both["small"].notna()]
    is_asked = rewarded.assign(asked=rewarded["session"].isin(asked["session"]).astype("int8"))
    return Escalations(
        sessions=rate(is_asked, "asked"),
        decided=len(decided),
        failed=len(asked) - len(decided),
        not_recorded=len(decided) - len(both),
        change=_change(both) if len(both) else None,
    )


def _change(both: pd.DataFrame) -> EscalationChange:
    """Return what the large judge's rewards (`reward`) changed of the small ones' means (`small`)."""
    difference = both["reward"] - both["small"]
    verdict = both["overall"].where(both["overall"] >= 0)
    brier = (both["reward"] - verdict) ** 2 - (both["small"] - verdict) ** 2
    changed = session_means(both, brier)
    conversations = int(both["conversation"].nunique())
    return EscalationChange(
        sessions=len(both),
        difference=Mean.of(session_means(both, difference), missing=0, at_least=-1.0, at_most=1.0),
        distance=Mean.of(session_means(both, difference.abs()), missing=0, at_least=0.0, at_most=1.0),
        other_side=int(((both["reward"] >= SIDES) != (both["small"] >= SIDES)).sum()),
        brier_change=Mean.of(changed, missing=conversations - len(changed), at_least=-1.0, at_most=1.0),
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
