"""Figures of the judges and of the modes that were chosen, under the names that sessions have."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from crm_assets.reporting.breakdowns import counts_of, mean
from crm_assets.reporting.figures import tidy
from crm_assets.reporting.models import AdaptiveModes, RewardSpread, SessionRewards

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["adaptive_summary", "reward_stats", "session_rewards"]


def adaptive_summary(sessions: pd.DataFrame) -> AdaptiveModes | None:
    """Return how the modes of the sessions were chosen; None where no session says so."""
    chosen = sessions[sessions["adaptive_mode"] != "(none)"]
    if not len(chosen):
        return None
    return AdaptiveModes(
        adaptive_mode=counts_of(chosen["adaptive_mode"]),
        source=counts_of(chosen["mode_source"]),
        confidence=mean(chosen, "mode_confidence", at_most=1.0),
    )


def session_rewards(ran: pd.DataFrame) -> SessionRewards | None:
    """Return the range of the rewards of sessions that finished; None without any."""
    rewarded = ran[ran["reward"].notna()]
    scores = rewarded["reward"].tolist()
    if not scores:
        return None
    return SessionRewards(
        sessions=len(scores),
        with_rationale=int((rewarded["rationale"] == 1).sum()),
        lowest=tidy(min(scores)),
        median=tidy(statistics.median(scores)),
        highest=tidy(max(scores)),
    )


def reward_stats(ran: pd.DataFrame) -> RewardSpread | None:
    """Return how far the judges of one session agree; None where no session says so."""
    judged = ran[ran["samples"].notna()]
    if not len(judged):
        return None
    return RewardSpread(
        sessions=len(judged),
        sample_count=int(judged["samples"].sum()),
        score_stddev=mean(judged, "score_stddev"),
        uncertainty_mean=mean(judged, "uncertainty", at_most=1.0),
    )
