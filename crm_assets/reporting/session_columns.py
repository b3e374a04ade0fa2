"""Columns of sessions, turns, tokens, dollars and judgments, filled a few hundred sessions at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_assets.records import SessionSummary, UsageSummary
from crm_assets.records.results import StrictFormula
from crm_assets.records.summary import ModeSummary, ResultSummary, RewardSummary, SpreadSummary
from crm_assets.reporting.columns import Columns, ColumnSource
from crm_assets.reporting.failures import UNNAMED_KIND

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionColumns"]

_SESSION: Final = {
    "conversation": ColumnSource("id", "content"),
    "identifier": ColumnSource("id", "conversation_id"),
    "status": ColumnSource("name", "status"),
    "epoch": ColumnSource("whole", "epoch"),
}
_FACTS: Final = {
    "workflow": ColumnSource("name", "workflow_category"),
    "complexity": ColumnSource("name", "complexity_level"),
    "mode": ColumnSource("name", "execution_mode"),
    "key": ColumnSource("name", "learning_key"),
    "reward_status": ColumnSource("name", "reward_status"),
    "escalated": ColumnSource("verdict", "reward_escalated"),
    "attempts": ColumnSource("number", "attempts"),
    "intervened": ColumnSource("verdict", "teacher_intervened"),
    "valid": ColumnSource("verdict", "teacher_valid"),
    "first": ColumnSource("verdict", "first_attempt_success"),
    "available": ColumnSource("number", "entries_available"),
    "learnt": ColumnSource("number", "entries_learnt"),
    "rejected": ColumnSource("number", "entries_rejected"),
    "learner_failed": ColumnSource("verdict", "learner_failed"),
}
_MODE: Final = {
    "adaptive_mode": ColumnSource("name", "adaptive_mode"),
    "mode_source": ColumnSource("name", "source"),
    "mode_confidence": ColumnSource("number", "confidence"),
}
_RESULT: Final = {
    "overall": ColumnSource("verdict", "overall_success"),
    "turns_right": ColumnSource("verdict", "every_turn_right"),
    "state": ColumnSource("verdict", "state_match"),
    "noop": ColumnSource("verdict", "noop_state_match"),
    "chain": ColumnSource("verdict", "chain_success"),
    "failed_at": ColumnSource("number", "first_failed_turn"),
    "planned": ColumnSource("number", "metadata.total_turns"),
    "signal": ColumnSource("number", "reward_signal"),
    "duration": ColumnSource("number", "metadata.duration_seconds"),
}
_REWARD: Final = {
    "reward": ColumnSource("number", "score"),
    "rationale": ColumnSource("verdict", "has_rationale"),
}
_SPREAD: Final = {
    "score_stddev": ColumnSource("number", "score_stddev"),
    "samples": ColumnSource("number", "sample_count"),
    "uncertainty": ColumnSource("number", "uncertainty_mean"),
}
_TURN: Final = {
    "turn": ColumnSource("whole", "turn_id"),
    "tool": ColumnSource("name", "expected_tool"),
    "kind": ColumnSource("name", "verification", UNNAMED_KIND),
    "expect_success": ColumnSource("verdict", "expect_success"),
    "success": ColumnSource("verdict", "success"),
    "tool_success": ColumnSource("verdict", "tool_success"),
    "reply": ColumnSource("verdict", "response_success"),
    "reply_status": ColumnSource("name", "response_status"),
    "asked_for_more": ColumnSource("verdict", "asked_for_more"),
}
_USAGE: Final = {
    "session": ColumnSource("whole", "session"),
    "role": ColumnSource("name", "role"),
    "prompt": ColumnSource("number", "used.prompt_tokens"),
    "completion": ColumnSource("number", "used.completion_tokens"),
    "total": ColumnSource("number", "used.total"),
    "cached": ColumnSource("number", "used.cached_tokens"),
    "reasoning": ColumnSource("number", "used.reasoning_tokens"),
    "calls": ColumnSource("number", "used.calls"),
    "failed": ColumnSource("number", "used.failed_calls"),
    "no_usage": ColumnSource("number", "used.unknown_usage_calls"),
    "no_cost": ColumnSource("number", "used.unknown_cost_calls"),
}
_COST: Final = {
    "session": ColumnSource("whole", "session"),
    "role": ColumnSource("name", "role"),
    "usd": ColumnSource("number", "usd"),
}
_JUDGMENT: Final = {"session": ColumnSource("whole", "session"), "score": ColumnSource("number", "score")}
_ESCALATION: Final = {
    "session": ColumnSource("whole", "session"),
    "decided": ColumnSource("verdict", "decided"),
}
_CHUNK: Final = 64  # sessions: few enough to stay in the cache


class _SessionUsage(NamedTuple):
    session: int
    role: str
    used: UsageSummary


class _SessionCost(NamedTuple):
    session: int
    role: str
    usd: float


class _SmallJudgment(NamedTuple):
    session: int
    score: float


class _Escalation(NamedTuple):
    session: int
    decided: bool


# Of a session that did not run to its end, or outside the loop: nothing is known.
_NO_RESULT: Final = ResultSummary(status="not_run")
_NO_MODE, _NO_REWARD, _NO_SPREAD = ModeSummary(), RewardSummary(), SpreadSummary()


class SessionColumns:
    """The columns of a run."""

    def __init__(self) -> None:
        self._sessions = [Columns(each) for each in (_SESSION, _FACTS, _MODE, _RESULT, _REWARD, _SPREAD)]
        self._turns, self._turns_of = Columns(_TURN), array("i")
        self._usage, self._costs = Columns(_USAGE), Columns(_COST)
        self._judgments, self._escalations = Columns(_JUDGMENT), Columns(_ESCALATION)
        self.formulas: set[StrictFormula] = set()
        """Formulas of strict success found in the results."""
        self._waiting: list[SessionSummary] = []

    def add(self, session: SessionSummary) -> None:
        """Add a session."""
        self._waiting.append(session)
        if len(self._waiting) == _CHUNK:
            self._fill()

    def _fill(self) -> None:
        sessions, self._waiting = self._waiting, []
        first = len(self._turns_of)
        facts = [session.atlas_metadata for session in sessions]
        results = [session.ran or _NO_RESULT for session in sessions]
        ran = [result is not _NO_RESULT for result in results]
        parts: tuple[Sequence[object], ...] = (
            sessions,
            facts,
            [each.adaptive_summary or _NO_MODE for each in facts],
            results,
            [(here and each.session_reward) or _NO_REWARD for here, each in zip(ran, facts, strict=True)],
            [(here and each.reward_stats) or _NO_SPREAD for here, each in zip(ran, facts, strict=True)],
        )
        for columns, rows in zip(self._sessions, parts, strict=True):
            columns.extend(rows)
        turns = [result.per_turn_results for result in results]
        self._turns.extend(list(chain.from_iterable(turns)))
        self._turns_of.extend(map(len, turns))
        self.formulas.update(r.strict_formula for r, here in zip(results, ran, strict=True) if here)
        numbered = list(enumerate(sessions, first))
        self._add_amounts(numbered)
        self._add_judgments([pair for pair, here in zip(numbered, ran, strict=True) if here])

    def _add_amounts(self, sessions: Iterable[tuple[int, SessionSummary]]) -> None:
        self._usage.extend(
            [
                _SessionUsage(number, role, used)
                for number, session in sessions
                for role, used in session.usage_by_role.items()
            ]
        )
        self._costs.extend(
            [
                _SessionCost(number, role, usd)
                for number, session in sessions
                for role, usd in (session.atlas_metadata.cost_usd or {}).items()
            ]
        )

    def _add_judgments(self, sessions: Iterable[tuple[int, SessionSummary]]) -> None:
        facts = [(number, session.atlas_metadata) for number, session in sessions]
        self._judgments.extend(
            [_SmallJudgment(n, score) for n, each in facts for score in each.small_scores]
        )
        self._escalations.extend(
            [_Escalation(n, bool(each.reward_escalated)) for n, each in facts if each.asked_large_judge]
        )

    def build(self) -> dict[str, pd.DataFrame]:
        """Return the frames `sessions`, `turns`, `usage`, `costs`, `judgments` and `escalations`.

        Nothing can be added any more.
        """
        import numpy as np  # noqa: PLC0415  (heavy)
        import pandas as pd  # noqa: PLC0415  (heavy)

        self._fill()
        sessions = pd.DataFrame({n: each for part in self._sessions for n, each in part.build().items()})
        sessions["session"] = np.arange(len(sessions), dtype=np.int32)
        of_turns = np.repeat(np.arange(len(sessions), dtype=np.int32), np.array(self._turns_of, "i"))
        turns = pd.DataFrame({"session": of_turns, **self._turns.build()})
        turns["conversation"] = sessions["conversation"].to_numpy()[of_turns]
        turns.loc[~turns["reply_status"].isin(("match", "mismatch")), "reply"] = -1
        status = np.where(turns["reply_status"] == "not_applicable", 2, 1)
        status[turns["reply"] >= 0] = 0
        turns["reply_status"] = pd.Categorical.from_codes(
            status, categories=pd.Index(["scored", "unscored", "not_applicable"])
        )
        first = turns["turn"].to_numpy() == sessions["failed_at"].to_numpy()[of_turns]
        turns["first_failure"] = first & (turns["success"].to_numpy() == 0)
        others = {
            "usage": self._usage,
            "costs": self._costs,
            "judgments": self._judgments,
            "escalations": self._escalations,
        }
        return {
            "sessions": sessions,
            "turns": turns,
            **{name: pd.DataFrame(columns.build()) for name, columns in others.items()},
        }
