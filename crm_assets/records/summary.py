"""A session without its transcript: what metrics, tables and comparisons are made of.

Structs of msgspec, which decodes them in a third of the time that Pydantic takes: a run may have a million
turns.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from crm_assets.records.results import StrictFormula

__all__ = [
    "FactsSummary",
    "ModeSummary",
    "ResultSummary",
    "RewardSummary",
    "SessionStatus",
    "SessionSummary",
    "SpreadSummary",
    "TurnSummary",
    "UsageSummary",
]

SessionStatus = Literal["succeeded", "failed", "not_recorded", "not_run"]
"""`succeeded`: ran to its end; `failed`: something around the agent broke; `not_run`: the budget was
spent."""

# JSON knows no largest number; a column of them does.
Whole = Annotated[int, Meta(ge=0, le=2**53)]
Ordinal = Annotated[int, Meta(ge=1, le=2**31 - 1)]


# No cycles can come of frozen values, so the garbage collector need not look for them.
class _Summary(Struct, frozen=True, kw_only=True, gc=False):
    pass


class UsageSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """Tokens that one role used. None stands for what was not reported."""

    prompt_tokens: Whole | None = None
    """Tokens of the requests."""
    completion_tokens: Whole | None = None
    """Tokens of the replies."""
    total_tokens: Whole | None = None
    """Both, as the provider counts them."""
    cached_tokens: Whole | None = None
    """Of the requests', those read from the provider's cache."""
    reasoning_tokens: Whole | None = None
    """Of the replies', those spent on reasoning."""
    calls: Whole | None = None
    """Calls, failed ones included."""
    failed_calls: Whole | None = None
    """Calls that gave no usable reply."""
    unknown_usage_calls: Whole | None = None
    """Calls of unknown tokens: where there are any, the tokens are the least it was."""
    unknown_cost_calls: Whole | None = None
    """Calls of unknown cost."""

    @property
    def total(self) -> int | None:
        """The reported total, or the sum of what was reported; None if nothing was."""
        if self.total_tokens is not None:
            return self.total_tokens
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    def __add__(self, other: UsageSummary) -> UsageSummary:
        """Return the tokens of both; of a count that one does not report, the other's."""
        return UsageSummary(
            prompt_tokens=_add(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=_add(self.completion_tokens, other.completion_tokens),
            total_tokens=_add(self.total, other.total),
            cached_tokens=_add(self.cached_tokens, other.cached_tokens),
            reasoning_tokens=_add(self.reasoning_tokens, other.reasoning_tokens),
            calls=_add(self.calls, other.calls),
            failed_calls=_add(self.failed_calls, other.failed_calls),
            unknown_usage_calls=_add(self.unknown_usage_calls, other.unknown_usage_calls),
            unknown_cost_calls=_add(self.unknown_cost_calls, other.unknown_cost_calls),
        )


def _add(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


class CallSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """One of several calls that an agent asked for in a turn."""

    made: bool
    """False for a call beyond the most of a turn."""


class TurnSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """One executed turn."""

    turn_id: Ordinal
    """From 1."""
    user_utterance: str = ""
    """The user's utterance."""
    tool_name: str | None = None
    """The tool that the agent called; None for no call."""
    expected_tool: str | None = None
    """The tool of the ground truth."""
    expect_success: bool = True
    """False for a call that is meant to be refused."""
    argument_mismatch_reason: str | None = None
    """Difference between the arguments and the expected ones."""
    error: str | None = None
    """The tool's refusal."""
    tool_success: bool | None
    """None where a judge was needed and failed."""
    response_success: bool | None = None
    """None where the reply has no verdict."""
    response_status: Literal["match", "mismatch", "unscored", "not_applicable"]
    """Status of the reply's verdict."""
    success: bool | None
    """None where a judge was needed and failed."""
    verification: str | None = None
    """Kind of the turn's verdict."""
    token_usage: dict[str, UsageSummary] = {}
    """By role."""
    calls: tuple[CallSummary, ...] | None = None
    """The calls of a turn that asked for more than one; None if that was not recorded."""

    @property
    def asked_for_more(self) -> bool | None:
        """Calls were asked for and not made; None if that was not recorded."""
        if not self.calls:
            return None if self.calls is None else False
        return not all(call.made for call in self.calls)


class _ResultMetadata(_Summary, frozen=True, kw_only=True, gc=False):
    total_turns: Whole | None = None
    duration_seconds: Annotated[float, Meta(ge=0)] | None = None
    not_recorded: str | None = None
    """Why a past run holds nothing to score."""


class ResultSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """The harness's verdict on one conversation."""

    schema_version: int = 1
    """Version of the result; of version 1, `overall_success` is `turns_right`."""
    status: Literal["completed", "infrastructure_error", "not_recorded", "not_run"]
    """The conversation's end."""
    overall_success: bool | None = None
    """Strict success; None where nothing is known to be wrong and a turn is undecided."""
    turns_right: bool | None = None
    """Every turn succeeded; None where none failed and one is undecided."""
    failed_at_turn: Ordinal | None = None
    """The first turn that failed."""
    per_turn_results: tuple[TurnSummary, ...] = ()
    """Its turns, as executed."""
    reward_signal: float | None = None
    """Share of the decided turns that succeeded."""
    chain_success: bool | None = None
    """Every segment succeeded; None for conversations that are no chain."""
    state_match: bool | None = None
    """The end state is the one that the ground truth leaves."""
    noop_state_match: bool | None = None
    """An agent that calls nothing leaves that state, too; None where that is not known."""
    work_hash: str | None = None
    """Hex SHA-256 of the conversation's seeds and turns; None in older results."""
    error_message: str | None = None
    """Infrastructure error."""
    metadata: _ResultMetadata = field(default_factory=_ResultMetadata)
    """Planned turns, and seconds that the conversation took."""

    @property
    def strict_formula(self) -> StrictFormula:
        """Formula of `overall_success`."""
        return "turns" if self.schema_version == 1 else "turns_and_state"

    @property
    def every_turn_right(self) -> bool | None:
        """Every turn succeeded, in results of any version."""
        return self.overall_success if self.strict_formula == "turns" else self.turns_right

    @property
    def first_failed_turn(self) -> int | None:
        """The first turn that failed."""
        if self.failed_at_turn is not None:
            return self.failed_at_turn
        return min((t.turn_id for t in self.per_turn_results if t.success is False), default=None)


class _RewardSample(_Summary, frozen=True, kw_only=True, gc=False):
    score: float | None = None


class _RewardJudge(_Summary, frozen=True, kw_only=True, gc=False):
    rationale: str | None = None
    samples: tuple[_RewardSample, ...] = ()
    escalated: bool = False
    escalation_reason: str | None = None


class RewardSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """The judges' reward of a session."""

    score: float | None = None
    judges: tuple[_RewardJudge, ...] = ()

    @property
    def has_rationale(self) -> bool:
        """A judge gave a reason."""
        return any((judge.rationale or "").strip() for judge in self.judges)


class SpreadSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """Spread of the judgments of a session."""

    score_stddev: float | None = None
    sample_count: Whole | None = None
    uncertainty_mean: float | None = None


class ModeSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """The mode of a session, and why it was chosen."""

    adaptive_mode: str | None = None
    source: str | None = None
    confidence: float | None = None


class FactsSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """The run's facts about a session."""

    workflow_category: str | None = None
    """The dataset's workflow category."""
    complexity_level: str | None = None
    """The dataset's complexity level."""
    execution_mode: str | None = None
    """`harness`, `imported`, or the Atlas loop's mode."""
    learning_key: str | None = None
    """The stream of sessions that it learns in; None without a loop."""
    session_reward: RewardSummary | None = None
    """The judges' reward; None where they gave none."""
    reward_stats: SpreadSummary | None = None
    """The spread of their judgments."""
    adaptive_summary: ModeSummary | None = None
    """The mode and why it was chosen; None without a loop, and in older sessions."""
    reward_status: Literal["scored", "failed"] | None = None
    """`failed`: no judgement could be used."""
    reward_escalated: bool | None = None
    """The large judge had the last word."""
    small_judge_scores: tuple[float, ...] | None = None
    """The small judges' scores, overruled or not; None where that was not recorded."""
    attempts: Whole | None = None
    """Number of times that the student ran."""
    teacher_intervened: bool | None = None
    """The student got guidance."""
    teacher_valid: bool | None = None
    """The teacher's verdict on the last attempt."""
    first_attempt_success: bool | None = None
    """Strict success of the first attempt."""
    entries_available: Whole | None = None
    """Playbook entries at its start."""
    entries_learnt: Whole | None = None
    """Entries that passed the gates."""
    entries_rejected: Whole | None = None
    """Entries that did not."""
    learning_error: str | None = None
    """Why nothing was learnt."""
    drift_alert: bool | None = None
    """The reward is far from those that its learning key had before."""
    token_usage: dict[str, UsageSummary] | None = None
    """By role."""
    cost_usd: dict[str, Annotated[float, Meta(ge=0)]] | None = None
    """US dollars by role; a role with a call of unknown price is left out."""

    @property
    def learner_failed(self) -> bool:
        """The learner was asked, and nothing could be learnt."""
        return self.learning_error is not None

    @property
    def small_scores(self) -> tuple[float, ...]:
        """The small judges' scores; empty where they are not known."""
        if self.small_judge_scores is not None:
            return self.small_judge_scores
        judges = self.session_reward.judges if self.session_reward else ()
        return tuple(
            sample.score
            for judge in judges
            if not judge.escalated
            for sample in judge.samples
            if sample.score is not None
        )

    @property
    def asked_large_judge(self) -> bool:
        """The small judges disagreed or were unsure, so that the large one was asked."""
        judges = self.session_reward.judges if self.session_reward else ()
        return bool(self.reward_escalated) or any(judge.escalation_reason for judge in judges)


class SessionSummary(_Summary, frozen=True, kw_only=True, gc=False):
    """One session."""

    schema_version: int
    """Version of the line's layout."""
    conversation_id: str
    """The conversation, as in the dataset."""
    task_id: str
    """`<conversation_id>::<run_id>`."""
    epoch: Ordinal = 1
    """Repetition of the task, from 1."""
    status: SessionStatus
    """The session's end."""
    conversation_result: ResultSummary | None = None
    """The harness's result."""
    atlas_metadata: FactsSummary
    """The run's facts about it."""

    @property
    def ran(self) -> ResultSummary | None:
        """The result of a session that ran to its end; others have no verdict, whatever the line holds."""
        return self.conversation_result if self.status == "succeeded" else None

    @property
    def work_hash(self) -> str | None:
        """Hex SHA-256 of its conversation's seeds and turns; None in older sessions."""
        return self.conversation_result.work_hash if self.conversation_result else None

    @property
    def content(self) -> str:
        """Hash of its conversation's work; the conversation's ID where older sessions have no hash."""
        return self.work_hash or self.conversation_id

    @property
    def strict_formula(self) -> StrictFormula | None:
        """Formula of `strict_success`; None without a verdict."""
        return self.ran.strict_formula if self.ran else None

    @property
    def strict_success(self) -> bool | None:
        """Strict success by the formula of its result; None without a verdict."""
        return self.ran.overall_success if self.ran else None

    @property
    def turns_right(self) -> bool | None:
        """Every turn succeeded; None without a verdict."""
        return self.ran.every_turn_right if self.ran else None

    @property
    def state_match(self) -> bool | None:
        """The end state is right; None without a verdict."""
        return self.ran.state_match if self.ran else None

    @property
    def noop_state_match(self) -> bool | None:
        """An agent that calls nothing leaves the expected end state; None without a verdict."""
        return self.ran.noop_state_match if self.ran else None

    @property
    def harness_reward(self) -> float | None:
        """Share of its decided turns that succeeded; None without a verdict."""
        return self.ran.reward_signal if self.ran else None

    @property
    def reward(self) -> float | None:
        """The judges' reward, 0–1; None where they gave none."""
        given = self.atlas_metadata.session_reward
        return given.score if given else None

    @property
    def usage_by_role(self) -> dict[str, UsageSummary]:
        """Tokens by role: the session's own account, else the sum over its turns.

        A role whose counts are all 0 and that called no model has no usage, rather than a usage of 0.
        """
        roles = self.atlas_metadata.token_usage
        if not roles and self.conversation_result is not None:
            roles = {}
            for turn in self.conversation_result.per_turn_results:
                for role, used in turn.token_usage.items():
                    roles[role] = roles[role] + used if role in roles else used
        return {role: used for role, used in (roles or {}).items() if used.total or used.calls}

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all roles; None where no cost was reported."""
        costs = self.atlas_metadata.cost_usd
        return math.fsum(costs.values()) if costs else None
