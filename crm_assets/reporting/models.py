"""The contents of a baseline's metrics.json."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from crm_assets.reporting.figures import Mean, Model, Rate
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL

__all__ = [
    "METRICS_VERSION",
    "Bounds",
    "ConversationGroup",
    "CurveBlock",
    "FailureExample",
    "FailureKind",
    "InfrastructureFailure",
    "LoopFigures",
    "Metrics",
    "Repeats",
    "ReplyCounts",
    "RewardCounts",
    "RoleCost",
    "RoleTokens",
    "RunInfo",
    "TeacherCounts",
    "TurnGroup",
]

METRICS_VERSION: Final = 1


class Bounds(Model):
    """Strict success with the conversations without a verdict counted as failed, and as succeeded."""

    missing: int
    """Conversations without a verdict: infrastructure failures, undecided ones, and those that did not
    run because the budget was spent."""
    worst: Rate
    """All of them counted as failed."""
    best: Rate
    """All of them counted as succeeded."""


class ReplyCounts(Model):
    """Replies of the executed turns, by whether they have a verdict."""

    scored: int
    """Match or mismatch: the only ones that response rates count."""
    unscored: int
    """No verdict was possible, for instance without a judge."""
    not_applicable: int
    """There was nothing to compare."""


class ConversationGroup(Model):
    """The conversations of one workflow or complexity."""

    conversations: int
    """All of them, finished or not."""
    ran: int
    """Those that finished."""
    strict_success: Rate
    """Conversations in which every turn succeeded."""
    state_match: Rate
    """Conversations that left the CRM in the expected state."""
    turn_tool_success: Rate
    """Turns with the correct tool call."""
    turn_response_success: Rate
    """Scored replies that were correct."""


class TurnGroup(Model):
    """The executed turns of one expected tool or one position."""

    turns: int
    """Turns that were executed."""
    turn_success: Rate
    """Turns that succeeded as a whole."""
    turn_tool_success: Rate
    """Turns with the correct tool call."""
    turn_response_success: Rate
    """Scored replies that were correct."""


class FailureExample(Model):
    """One failed turn as an example."""

    conversation_id: str
    """The conversation, as in the dataset."""
    turn_id: int
    """The turn, from 1."""
    first_failure: bool
    """True for the conversation's first failed turn: a cause, not a consequence."""
    user_utterance: str
    """The user's request, shortened."""
    expected_tool: str | None
    """The tool of the ground truth."""
    called_tool: str | None
    """The tool that the agent called; null if it called none."""
    detail: str | None
    """The difference in the arguments, or the error, shortened."""


class FailureKind(Model):
    """One way in which turns failed."""

    kind: str
    """The harness's `verification` of the turn."""
    turns: int
    """Failed turns of this kind."""
    share_of_turns: Rate
    """Their share of the executed turns that have a verdict."""
    conversations: int
    """Conversations with at least one of them."""
    first_failures: int
    """Conversations whose first failed turn was one of them."""
    examples: tuple[FailureExample, ...]
    """Up to three, from different conversations; first failures before others."""


class InfrastructureFailure(Model):
    """One reason why sessions did not finish."""

    message: str
    """The error, shortened."""
    sessions: int
    """Sessions that it ended."""
    example: str
    """One of their conversations."""


class RoleTokens(Model):
    """Tokens of one role (student, teacher, judge, …), as its provider counted them."""

    prompt_tokens: int | None
    """Null when no call reported it."""
    completion_tokens: int | None
    """Null when no call reported it."""
    total_tokens: int
    """Reported totals, or prompt + completion where no total was reported."""
    cached_tokens: int | None = None
    """Prompt tokens that were read from the provider's cache; null when no call reported it."""
    reasoning_tokens: int | None = None
    """Completion tokens that were spent on reasoning; null when no call reported it."""
    calls: int | None
    """Calls to the model, retries and failed ones included; null when they were not counted."""
    failed_calls: int | None = None
    """Calls without a usable reply; null when they were not counted."""
    unknown_usage_calls: int | None = None
    """Calls of unknown tokens; where there are any, the tokens are the least it was."""
    unknown_cost_calls: int | None = None
    """Calls of unknown cost; where there are any, the dollars are the least it was."""
    conversations: int
    """Sessions that report tokens of this role, failed ones included: they were paid for."""


class RoleCost(Model):
    """The cost of one role."""

    usd: float
    """US dollars."""
    conversations: int
    """Sessions that report a cost of this role, failed ones included."""


class RewardCounts(Model):
    """Finished sessions by what the judges returned."""

    scored: int
    """Sessions with a reward."""
    failed: int
    """Sessions without a usable reply from the judges: no reward, which is not a reward of 0."""
    escalated: int
    """Sessions that the large judge decided."""


class TeacherCounts(Model):
    """Finished sessions by what the teacher did."""

    valid: int
    """The last attempt was accepted."""
    invalid: int
    """The last attempt was rejected."""
    without_verdict: int
    """The teacher was not asked (mode auto) or not available."""
    intervened: int
    """Sessions in which the student received guidance."""
    repeated: int
    """Sessions in which the student ran more than once."""


class LoopFigures(Model):
    """The loop around the student: teacher, judges, and learner."""

    rewards: RewardCounts
    """Results of the judges."""
    teacher: TeacherCounts
    """Results of the teacher."""
    first_attempt_strict_success: Rate
    """Strict success of the first attempts, before any guidance."""
    learning_keys: int
    """Groups of sessions that share a playbook."""
    entries_at_start: int | None
    """Playbook entries available to the keys' first sessions; null when the sessions do not record it."""
    entries_learnt: int | None
    """Entries that passed the gates; null without learning."""
    entries_rejected: int | None
    """Entries that did not pass; null without learning."""
    learner_failures: int
    """Sessions without a usable reply from the learner."""


class CurveBlock(Model):
    """Consecutive sessions of one learning key."""

    key: str
    """The learning key."""
    label: str
    """Workflow and complexity of its first session."""
    first: int
    """Position of the block's first session among the key's, from 1."""
    last: int
    """Position of its last session."""
    rewarded: int
    """Sessions with a reward."""
    reward: float | None
    """Their mean reward; null without any."""
    decided: int
    """Sessions with a verdict."""
    strict_success: float | None
    """The share of these in which every turn succeeded; null without any."""


class Repeats(Model):
    """Results of running every conversation several times."""

    epochs: int
    """Runs of each conversation."""
    conversations: int
    """Number of conversations."""
    pass_hat_k: dict[str, Mean]
    """By k: chance that k runs of a conversation all succeed, over conversations."""
    pass_at_k: dict[str, Mean]
    """By k: chance that at least one of k runs of a conversation succeeds, over conversations."""


class RunInfo(Model):
    """A run's identity; what its sessions record takes precedence over what the caller gives."""

    run_id: str | None = None
    """Identifier of the run; refused if the sessions have another."""
    dataset: str | None = None
    """Name of the dataset; refused if the sessions have another."""
    dataset_revision: str | None = None
    """SHA-256 of the dataset's file; refused if the sessions have another."""
    agent_config: dict[str, Any] | None = None
    """The agent and its settings."""
    backend: str | None = None
    """The backend of the CRM."""
    use_llm_judge: bool | None = None
    """Whether a model judged replies."""
    config_path: str | None = None
    """Configuration file of the run; null when there was none."""
    conversations_path: str | None = None
    """The dataset's file."""
    tasks_path: str | None = None
    """The run's tasks.jsonl."""
    software: dict[str, str] = Field(default_factory=dict)
    """Versions of the software that took part, by name."""
    answered_by: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The models that answered for each model asked, as `<model> at <server>`; several: a mixed run."""


class _Versioned(Model):
    # A base of its own: fields of the first base come first in the file.
    schema_version: Literal[1] = METRICS_VERSION
    """Version of this layout."""


class Metrics(RunInfo, _Versioned):
    """A baseline in figures, computed from its sessions.jsonl alone."""

    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""

    total_conversations: int
    """Sessions in the file, finished or not; with several epochs, several per conversation."""
    atlas_successful_runs: int
    """Sessions that finished, successful or not."""
    harness_successes: int
    """Of those, conversations in which every turn succeeded."""
    failed_conversations: int
    """Of those, conversations in which a turn failed."""
    conversations_without_verdict: int
    """Of those, conversations without a verdict."""
    failed_runs: int
    """Sessions that an infrastructure failure ended; in no rate."""
    not_recorded_runs: int
    """Conversations of which a recorded run has nothing to score; in no rate."""
    not_recorded_reasons: dict[str, int] = Field(default_factory=dict)
    """Those, by reason (`not_in_file`, `not_started`, `ended_in_error`, `other_turns`)."""
    not_run: int = 0
    """Conversations not run because the budget was spent; in no rate."""
    infrastructure_failures: tuple[InfrastructureFailure, ...]
    """The most frequent reasons of failed runs; at most ten."""
    execution_modes: dict[str, int]
    """Sessions by execution mode."""

    strict_success: Rate
    """Conversations in which every turn succeeded."""
    strict_success_bounds: Bounds | None
    """Strict success at worst and at best; null when every conversation has a verdict."""
    state_match: Rate
    """Conversations that left the CRM in the expected state."""
    chain_success: Rate
    """Chained conversations in which every segment succeeded."""
    conversations_with_tool_success: Rate
    """Conversations with at least one correct tool call."""
    conversations_with_response_success: Rate
    """Conversations with at least one correct reply, among those with a scored one."""

    turns_planned: int | None
    """Turns of the finished conversations; null when the sessions do not record it."""
    turns_executed: int
    """Turns that were executed; turn rates count them, except the undecided ones."""
    turns_with_further_calls: int | None = None
    """Executed turns in which the agent asked for more calls than a turn makes; null if not recorded."""
    turns_undecided: int = 0
    """Executed turns without a verdict because a judge was needed and failed; in no rate."""
    turn_success: Rate
    """Turns that succeeded as a whole."""
    turn_tool_success: Rate
    """Turns with the correct tool call."""
    turn_response_success: Rate
    """Scored replies that were correct."""
    expected_failures: Rate
    """Turns that should fail and failed as expected."""
    replies: ReplyCounts
    """Scored and unscored replies."""

    by_workflow: dict[str, ConversationGroup]
    """By the dataset's workflow category."""
    by_complexity: dict[str, ConversationGroup]
    """By the dataset's complexity level."""
    by_tool: dict[str, TurnGroup]
    """By the tool that the ground truth calls."""
    by_turn: dict[str, TurnGroup]
    """By position in the conversation, from 1."""
    failure_kinds: tuple[FailureKind, ...]
    """Kinds of failed turns, most frequent first."""
    first_failed_turn: dict[str, int]
    """Failed conversations by the position of their first failed turn."""

    token_usage: dict[str, RoleTokens]
    """Tokens by role; empty when none were reported."""
    tokens_per_conversation: Mean
    """Tokens of all roles, over finished conversations that report any."""
    tokens_per_success: float | None
    """All reported tokens / successes among the sessions reporting; null without either."""
    cost_usd: dict[str, RoleCost]
    """US dollars by role; empty when none were reported."""
    cost_usd_per_conversation: Mean
    """US dollars of all roles, over finished conversations that report any."""
    cost_usd_per_success: float | None
    """All reported cost / successes among the sessions reporting; null without either."""

    total_cost_usd: float | None = None
    """US dollars of all sessions and roles; null when none was reported."""

    loop: LoopFigures | None = None
    """Teacher, judges and learner; null for a student alone."""
    learning_curve: tuple[CurveBlock, ...] = ()
    """Rewards over the order of each learning key's sessions; empty without a loop."""
    repeats: Repeats | None = None
    """pass^k and pass@k; null when every conversation ran once."""

    reward_summary: Mean
    """Rewards that judges gave to sessions."""
    harness_reward_summary: Mean
    """The harness's own signal: the share of a conversation's turns that succeeded."""
    duration_seconds: Mean
    """Duration of a conversation."""
