"""Figures of the Atlas loop: teacher, judges, learner, learning curve, repeated runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crm_assets.reporting.breakdowns import rate
from crm_assets.reporting.figures import Mean, tidy
from crm_assets.reporting.models import CurveBlock, LoopFigures, Repeats, RewardCounts, TeacherCounts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["learning_curve", "loop_figures", "repeats"]

_BLOCKS = 20  # of a learning key: enough to see a curve, few enough to read


def loop_figures(sessions: pd.DataFrame) -> LoopFigures | None:
    """Return what the loop around the student did; None without a loop."""
    looped = sessions[sessions["key"] != "(none)"]
    if not len(looped):
        return None
    ran = looped[looped["status"] == "succeeded"]
    return LoopFigures(
        rewards=RewardCounts(
            scored=int((ran["reward_status"] == "scored").sum()),
            failed=int((ran["reward_status"] == "failed").sum()),
            escalated=int((ran["escalated"] == 1).sum()),
        ),
        teacher=TeacherCounts(
            valid=int((ran["valid"] == 1).sum()),
            invalid=int((ran["valid"] == 0).sum()),
            without_verdict=int((ran["valid"] < 0).sum()),
            intervened=int((ran["intervened"] == 1).sum()),
            repeated=int((ran["attempts"] > 1).sum()),
        ),
        first_attempt_strict_success=rate(ran, "first"),
        learning_keys=int(looped["key"].nunique()),
        entries_at_start=_entries_at_start(ran),
        entries_learnt=_total(ran["learnt"]),
        entries_rejected=_total(ran["rejected"]),
        learner_failures=int((ran["learner_failed"] == 1).sum()),
    )


def _entries_at_start(ran: pd.DataFrame) -> int | None:
    """Return how many entries the first sessions of the learning keys could use."""
    firsts = ran.drop_duplicates("key")["available"].dropna()
    return int(firsts.sum()) if len(firsts) else None


def _total(column: pd.Series[float]) -> int | None:
    known = column.dropna()
    return int(known.sum()) if len(known) else None


def learning_curve(sessions: pd.DataFrame) -> tuple[CurveBlock, ...]:
    """Return mean reward and strict success over each learning key's sessions, in up to 20 blocks."""
    looped = sessions[sessions["key"] != "(none)"]
    blocks: list[CurveBlock] = []
    for key, rows in looped.groupby("key", observed=True, sort=False):
        label = f"{rows['workflow'].iloc[0]} · {rows['complexity'].iloc[0]}"
        for first, last, part in _blocks(rows):
            rewards = [float(value) for value in part["reward"].dropna()]
            verdicts = [int(value) for value in part["overall"] if value >= 0]
            blocks.append(
                CurveBlock(
                    key=str(key),
                    label=label,
                    first=first,
                    last=last,
                    rewarded=len(rewards),
                    reward=tidy(math.fsum(rewards) / len(rewards)) if rewards else None,
                    decided=len(verdicts),
                    strict_success=tidy(sum(verdicts) / len(verdicts)) if verdicts else None,
                )
            )
    return tuple(sorted(blocks, key=lambda block: (block.label, block.key, block.first)))


def _blocks(rows: pd.DataFrame) -> Iterator[tuple[int, int, pd.DataFrame]]:
    count = len(rows)
    number = min(_BLOCKS, count)
    for block in range(number):
        start, end = block * count // number, (block + 1) * count // number
        yield start + 1, end, rows.iloc[start:end]


def repeats(sessions: pd.DataFrame) -> Repeats | None:
    """Return pass^k and pass@k of runs with several epochs; None for others.

    Both are the unbiased estimates over all choices of k of a conversation's n decided trials, c of them
    successes: pass@k = 1 - C(n-c, k) / C(n, k) (M. Chen et al., arXiv 2107.03374, 2021) and
    pass^k = C(c, k) / C(n, k) (S. Yao et al., tau-bench, arXiv 2406.12045, 2024). Conversations with fewer
    than k decided trials are not in the figures of k.
    """
    epochs = int(sessions["epoch"].max())
    if epochs <= 1:
        return None
    decided = sessions[(sessions["status"] == "succeeded") & (sessions["overall"] >= 0)]
    grouped = decided.groupby("conversation", observed=True)["overall"]
    trials = [(int(row.n), int(row.c)) for row in grouped.agg(n="count", c="sum").itertuples()]
    every = int(sessions["conversation"].nunique())
    return Repeats(
        epochs=epochs,
        conversations=every,
        pass_hat_k={
            str(k): _mean_of([_all(n, c, k) for n, c in trials if n >= k], every) for k in _ks(epochs)
        },
        pass_at_k={
            str(k): _mean_of([_any(n, c, k) for n, c in trials if n >= k], every) for k in _ks(epochs)
        },
    )


def _ks(epochs: int) -> range:
    return range(1, epochs + 1)


def _all(trials: int, successes: int, k: int) -> float:
    return math.comb(successes, k) / math.comb(trials, k)


def _any(trials: int, successes: int, k: int) -> float:
    return 1.0 - math.comb(trials - successes, k) / math.comb(trials, k)


def _mean_of(values: Sequence[float], every: int) -> Mean:
    return Mean.of(list(values), missing=every - len(values), at_least=0.0, at_most=1.0)
