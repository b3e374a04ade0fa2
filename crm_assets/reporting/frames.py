"""sessions.jsonl as compact pandas frames, built line by line.

A session's line is some kilobytes, mostly text that no metric needs; here it is some tens of bytes,
so that 100,000 sessions fit where a list of their records would not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.errors import InputError
from crm_assets.records import RunHeader, SessionLog, SessionSummary, UsageSummary
from crm_assets.records.results import StrictFormula
from crm_assets.records.summary import FactsSummary, ResultSummary
from crm_assets.reporting.columns import Columns
from crm_assets.reporting.failures import UNNAMED_KIND, FailureLog
from crm_assets.reporting.models import RunInfo

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionFrames", "read_frames"]

_NONE = "(none)"
_UNSCORED = dict.fromkeys(("match", "mismatch", "unscored"), "unscored") | {
    "not_applicable": "not_applicable"
}
"""What a reply without a verdict is, by its status."""
_CHECKED = ("run_id", "dataset", "dataset_revision")


@dataclass(frozen=True)
class SessionFrames:
    """The parts of the sessions that metrics are made of.

    Verdicts are small integers: 1 yes, 0 no, -1 none. Missing numbers are NaN.
    """

    sessions: pd.DataFrame
    """A row for each session: its number, those of its conversation (one for all sessions of one content)
    and of its conversation's ID, status, workflow, mode, verdicts, rewards."""
    turns: pd.DataFrame
    """A row for each executed turn of a session that ran: session, conversation, verdicts, tool, kind."""
    usage: pd.DataFrame
    """A row for each session and role that report tokens."""
    costs: pd.DataFrame
    """A row for each session and role that report a cost."""
    judgments: pd.DataFrame
    """A row for each known score of a small judge, with its session."""
    escalations: pd.DataFrame
    """A row for each session in which the large judge was asked, and whether it decided."""
    failures: FailureLog
    run: RunInfo
    """The header of the run, completed by what the caller knows."""
    strict_formula: StrictFormula
    """What strict success asks for, in the column `overall`."""


@dataclass
class _Builder:
    sessions: Columns = field(
        default_factory=lambda: Columns(
            conversation="id",
            identifier="id",
            status="name",
            workflow="name",
            complexity="name",
            mode="name",
            overall="verdict",
            turns_right="verdict",
            state="verdict",
            noop="verdict",
            chain="verdict",
            failed_at="i",
            planned="q",
            reward="number",
            rationale="b",
            score_stddev="number",
            samples="number",
            uncertainty="number",
            signal="number",
            duration="number",
            epoch="i",
            key="name",
            reward_status="name",
            escalated="verdict",
            attempts="i",
            intervened="verdict",
            valid="verdict",
            first="verdict",
            available="number",
            learnt="number",
            rejected="number",
            learner_failed="b",
            adaptive_mode="name",
            mode_source="name",
            mode_confidence="number",
        )
    )
    turns: Columns = field(
        default_factory=lambda: Columns(
            session="i",
            turn="i",
            tool="name",
            kind="name",
            expect_success="b",
            success="verdict",
            tool_success="verdict",
            reply="verdict",
            reply_status="name",
            first_failure="b",
            asked_for_more="verdict",
        )
    )
    usage: Columns = field(
        default_factory=lambda: Columns(
            session="i",
            role="name",
            prompt="number",
            completion="number",
            total="number",
            cached="number",
            reasoning="number",
            calls="number",
            failed="number",
            no_usage="number",
            no_cost="number",
        )
    )
    costs: Columns = field(default_factory=lambda: Columns(session="i", role="name", usd="d"))
    judgments: Columns = field(default_factory=lambda: Columns(session="i", score="d"))
    escalations: Columns = field(default_factory=lambda: Columns(session="i", decided="b"))
    failures: FailureLog = field(default_factory=FailureLog)
    formulas: set[StrictFormula] = field(default_factory=set)

    def add(self, index: int, session: SessionSummary) -> None:
        """Add a session, the `index`th from 0."""
        self._add_session(session)
        self._add_usage(index, session)
        if session.ran is not None:
            self.formulas.add(session.ran.strict_formula)
            self._add_turns(index, session.ran)
            self._add_judgments(index, session.atlas_metadata)
            self.failures.add_turns(session)
        elif session.status == "failed":
            self.failures.add_infrastructure(session)
        elif session.status == "not_recorded":
            self.failures.add_not_recorded(session)

    def _add_session(self, session: SessionSummary) -> None:
        meta, ran = session.atlas_metadata, session.ran
        planned = ran.metadata.total_turns if ran else None
        reward = meta.session_reward if ran else None
        stats, summary = (meta.reward_stats if ran else None), meta.adaptive_summary
        self.sessions.append(
            session.content,
            session.conversation_id,
            session.status,
            meta.workflow_category or _NONE,
            meta.complexity_level or _NONE,
            meta.execution_mode or _NONE,
            ran.overall_success if ran else None,
            session.turns_right if ran else None,
            ran.state_match if ran else None,
            ran.noop_state_match if ran else None,
            ran.chain_success if ran else None,
            (ran.first_failed_turn if ran else None) or 0,
            -1 if planned is None else planned,
            reward.score if reward else None,
            int(reward is not None and reward.has_rationale),
            stats.score_stddev if stats else None,
            stats.sample_count if stats else None,
            stats.uncertainty_mean if stats else None,
            ran.reward_signal if ran else None,
            ran.metadata.duration_seconds if ran else None,
            session.epoch,
            meta.learning_key or _NONE,
            meta.reward_status or _NONE,
            meta.reward_escalated,
            meta.attempts or 0,
            meta.teacher_intervened,
            meta.teacher_valid,
            meta.first_attempt_success,
            meta.entries_available,
            meta.entries_learnt,
            meta.entries_rejected,
            int(meta.learning_error is not None),
            (summary and summary.adaptive_mode) or _NONE,
            (summary and summary.source) or _NONE,
            summary.confidence if summary else None,
        )

    def _add_turns(self, index: int, ran: ResultSummary) -> None:
        first = ran.first_failed_turn
        self.turns.extend(
            [
                (
                    index,
                    turn.turn_id,
                    turn.expected_tool or _NONE,
                    turn.verification or UNNAMED_KIND,
                    turn.expect_success,
                    turn.success,
                    turn.tool_success,
                    verdict := turn.reply_verdict,
                    "scored" if verdict is not None else _UNSCORED[turn.response_status],
                    turn.turn_id == first and turn.success is False,
                    turn.asked_for_more,
                )
                for turn in ran.per_turn_results
            ]
        )

    def _add_judgments(self, index: int, meta: FactsSummary) -> None:
        for score in meta.small_scores:
            self.judgments.append(index, score)
        if meta.asked_large_judge:
            self.escalations.append(index, bool(meta.reward_escalated))

    def _add_usage(self, index: int, session: SessionSummary) -> None:
        for role, used in _usage_of(session).items():
            self.usage.append(
                index,
                role,
                used.prompt_tokens,
                used.completion_tokens,
                used.total,
                used.cached_tokens,
                used.reasoning_tokens,
                used.calls,
                used.failed_calls,
                used.unknown_usage_calls,
                used.unknown_cost_calls,
            )
        for role, usd in (session.atlas_metadata.cost_usd or {}).items():
            self.costs.append(index, role, usd)


def read_frames(path: Path, *, run: RunInfo) -> SessionFrames:
    """Read the sessions of one run.

    Raises:
        InputError: a line cannot be used, or belongs to another run; names file and line.
    """
    builder, log = _Builder(), SessionLog(path)
    for index, entry in enumerate(log.summaries()):
        builder.add(index, entry.session)
    sessions, turns = builder.sessions.frame(), builder.turns.frame()
    sessions["session"] = sessions.index.to_numpy("int32")
    turns["conversation"] = sessions["conversation"].to_numpy()[turns["session"]]
    formula: StrictFormula = "turns" if "turns" in builder.formulas else "turns_and_state"
    if formula == "turns":  # of a run that an older version began, all by the formula that all lines know
        sessions["overall"] = sessions["turns_right"]
    return SessionFrames(
        sessions=sessions,
        turns=turns,
        usage=builder.usage.frame(),
        costs=builder.costs.frame(),
        judgments=builder.judgments.frame(),
        escalations=builder.escalations.frame(),
        failures=builder.failures,
        run=_completed(path, log.header, run),
        strict_formula=formula,
    )


def _completed(path: Path, header: RunHeader, run: RunInfo) -> RunInfo:
    """Return the facts of the run, completed by those that the caller knows."""
    said = header.model_dump(include=set(RunInfo.model_fields))
    for name in _CHECKED:
        known = getattr(run, name)
        if known is not None and said[name] is not None and known != said[name]:
            raise InputError(
                f"{path} is of {name} {said[name]!r}, not {known!r}; give the sessions of this run."
            )
    said |= {
        "subset": header.subset,
        "playbook": header.playbook,
        "replay_of": header.replay_of,
        "agent_config": header.agent_config,
        "software": {**run.software, **header.software},
    }
    return run.model_copy(update={name: value for name, value in said.items() if value is not None})


def _usage_of(session: SessionSummary) -> dict[str, UsageSummary]:
    """Return tokens by role: the session's own account, else the sum over its turns.

    A role whose counts are all 0 and that called no model has no usage, rather than a usage of 0.
    """
    roles = session.atlas_metadata.token_usage
    if not roles and session.conversation_result is not None:
        roles = {}
        for turn in session.conversation_result.per_turn_results:
            for role, used in turn.token_usage.items():
                roles[role] = _sum(roles[role], used) if role in roles else used
    return {role: used for role, used in (roles or {}).items() if used.total or used.calls}


def _sum(one: UsageSummary, other: UsageSummary) -> UsageSummary:
    def add(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return UsageSummary(
        prompt_tokens=add(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=add(one.completion_tokens, other.completion_tokens),
        total_tokens=add(one.total, other.total),
        cached_tokens=add(one.cached_tokens, other.cached_tokens),
        reasoning_tokens=add(one.reasoning_tokens, other.reasoning_tokens),
        calls=add(one.calls, other.calls),
        failed_calls=add(one.failed_calls, other.failed_calls),
    )
