"""Columns of sessions, turns, tokens, dollars and judgments, filled a few hundred sessions at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_assets.records import SessionSummary, UsageSummary
from crm_assets.records.results import StrictFormula
from crm_assets.records.summary import ModeSummary, ResultSummary, RewardSummary, SpreadSummary
from crm_assets.reporting.columns import Column, Columns
from crm_assets.reporting.failures import UNNAMED_KIND

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionColumns"]

_SESSION: Final = {
    "conversation": Column("id", "content"),
    "identifier": Column("id", "conversation_id"),
    "status": Column("name", "status"),
    "epoch": Column("whole", "epoch"),
}
_FACTS: Final = {
    "workflow": Column("name", "workflow_category"),
    "complexity": Column("name", "complexity_level"),
    "mode": Column("name", "execution_mode"),
    "key": Column("name", "learning_key"),
    "reward_status": Column("name", "reward_status"),
    "escalated": Column("verdict", "reward_escalated"),
    "attempts": Column("number", "attempts"),
    "intervened": Column("verdict", "teacher_intervened"),
    "valid": Column("verdict", "teacher_valid"),
    "first": Column("verdict", "first_attempt_success"),
    "available": Column("number", "entries_available"),
    "learnt": Column("number", "entries_learnt"),
    "rejected": Column("number", "entries_rejected"),
    "learner_failed": Column("verdict", "learner_failed"),
}
_MODE: Final = {
    "adaptive_mode": Column("name", "adaptive_mode"),
    "mode_source": Column("name", "source"),
    "mode_confidence": Column("number", "confidence"),
}
_RESULT: Final = {
    "overall": Column("verdict", "overall_success"),
    "turns_right": Column("verdict", "every_turn_right"),
    "state": Column("verdict", "state_match"),
    "noop": Column("verdict", "noop_state_match"),
    "chain": Column("verdict", "chain_success"),
    "failed_at": Column("number", "first_failed_turn"),
    "planned": Column("number", "metadata.total_turns"),
    "signal": Column("number", "reward_signal"),
    "duration": Column("number", "metadata.duration_seconds"),
}
_REWARD: Final = {"reward": Column("number", "score"), "rationale": Column("verdict", "has_rationale")}
_SPREAD: Final = {
    "score_stddev": Column("number", "score_stddev"),
    "samples": Column("number", "sample_count"),
    "uncertainty": Column("number", "uncertainty_mean"),
}
_TURN: Final = {
    "turn": Column("whole", "turn_id"),
    "tool": Column("name", "expected_tool"),
    "kind": Column("name", "verification", UNNAMED_KIND),
    "expect_success": Column("verdict", "expect_success"),
    "success": Column("verdict", "success"),
    "tool_success": Column("verdict", "tool_success"),
    "reply": Column("verdict", "reply_verdict"),
    "reply_status": Column("name", "reply_status"),
    "asked_for_more": Column("verdict", "asked_for_more"),
}
_USAGE: Final = {
    "session": Column("whole", "session"),
    "role": Column("name", "role"),
    "prompt": Column("number", "used.prompt_tokens"),
    "completion": Column("number", "used.completion_tokens"),
    "total": Column("number", "used.total"),
    "cached": Column("number", "used.cached_tokens"),
    "reasoning": Column("number", "used.reasoning_tokens"),
    "calls": Column("number", "used.calls"),
    "failed": Column("number", "used.failed_calls"),
    "no_usage": Column("number", "used.unknown_usage_calls"),
    "no_cost": Column("number", "used.unknown_cost_calls"),
}
_COST: Final = {
    "session": Column("whole", "session"),
    "role": Column("name", "role"),
    "usd": Column("number", "usd"),
}
_JUDGMENT: Final = {"session": Column("whole", "session"), "score": Column("number", "score")}
_ESCALATION: Final = {"session": Column("whole", "session"), "decided": Column("verdict", "decided")}
_CHUNK: Final = 64  # sessions: few enough to stay in the cache


class _Usage(NamedTuple):
    session: int
    role: str
    used: UsageSummary


class _Cost(NamedTuple):
    session: int
    role: str
    usd: float


class _Judgment(NamedTuple):
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
        """What strict success asks for, in any result."""
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
                _Usage(number, role, used)
                for number, session in sessions
                for role, used in session.usage_by_role.items()
            ]
        )
        self._costs.extend(
            [
                _Cost(number, role, usd)
                for number, session in sessions
                for role, usd in (session.atlas_metadata.cost_usd or {}).items()
            ]
        )

    def _add_judgments(self, sessions: Iterable[tuple[int, SessionSummary]]) -> None:
        facts = [(number, session.atlas_metadata) for number, session in sessions]
        self._judgments.extend([_Judgment(n, score) for n, each in facts for score in each.small_scores])
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
