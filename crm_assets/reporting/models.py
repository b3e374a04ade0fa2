"""What a baseline's metrics.json holds."""

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
    """Strict success if the conversations without a verdict had had one."""

    missing: int
    """Conversations without a verdict: infrastructure failures, runs left undecided, and what the
    budget did not suffice for."""
    worst: Rate
    """All of them counted as failed."""
    best: Rate
    """All of them counted as succeeded."""


class ReplyCounts(Model):
    """What became of the replies of the turns that were executed."""

    scored: int
    """Match or mismatch: the only ones that response rates are made of."""
    unscored: int
    """No verdict was possible, for instance without a judge."""
    not_applicable: int
    """There was nothing to compare with."""


class ConversationGroup(Model):
    """The conversations of one workflow or complexity."""

    conversations: int
    """All of them, run or not."""
    ran: int
    """Those that ran to their end."""
    strict_success: Rate
    """Conversations in which every turn succeeded."""
    state_match: Rate
    """Conversations that left the CRM in the state the ground truth leaves."""
    turn_tool_success: Rate
    """Turns whose tool call was right."""
    turn_response_success: Rate
    """Scored replies that were right."""


class TurnGroup(Model):
    """The executed turns of one expected tool or one position."""

    turns: int
    """Turns that were executed."""
    turn_success: Rate
    """Turns that succeeded as a whole."""
    turn_tool_success: Rate
    """Turns whose tool call was right."""
    turn_response_success: Rate
    """Scored replies that were right."""


class FailureExample(Model):
    """One failed turn to look at."""

    conversation_id: str
    """The conversation, as in the dataset."""
    turn_id: int
    """The turn, from 1."""
    first_failure: bool
    """Whether it was the conversation's first failed turn: a cause, not a consequence."""
    user_utterance: str
    """What the user asked for, shortened."""
    expected_tool: str | None
    """The tool of the ground truth."""
    called_tool: str | None
    """The tool that the agent called; null for none."""
    detail: str | None
    """The difference in the arguments, or the error, shortened."""


class FailureKind(Model):
    """One way in which turns failed."""

    kind: str
    """The harness's `verification` of the turn."""
    turns: int
    """Failed turns of this kind."""
    share_of_turns: Rate
    """Those among all executed turns that have a verdict."""
    conversations: int
    """Conversations with at least one of them."""
    first_failures: int
    """Conversations whose first failed turn was one of them."""
    examples: tuple[FailureExample, ...]
    """Up to three, from different conversations; first failures before others."""


class InfrastructureFailure(Model):
    """One reason why sessions could not run."""

    message: str
    """The error, shortened."""
    sessions: int
    """Sessions it ended."""
    example: str
    """One of their conversations."""


class RoleTokens(Model):
    """Tokens of one role (student, teacher, judge, …), as its provider counted them."""

    prompt_tokens: int | None
    """Null when no call reported it."""
    completion_tokens: int | None
    """Null when no call reported it."""
    total_tokens: int
    """Reported totals, or prompt + completion where none was."""
    cached_tokens: int | None = None
    """Of the prompts', those read from the provider's cache; null when no call reported it."""
    reasoning_tokens: int | None = None
    """Of the completions', those spent on reasoning; null when no call reported it."""
    calls: int | None
    """Calls to the model, retries and failed ones included; null when nobody counted them."""
    failed_calls: int | None = None
    """Of these, those that gave no usable reply; null when nobody counted them."""
    conversations: int
    """Sessions that report tokens of this role, failed ones included: they were paid for."""


class RoleCost(Model):
    """What one role cost."""

    usd: float
    """US dollars."""
    conversations: int
    """Sessions that report a cost of this role, failed ones included."""


class RewardCounts(Model):
    """What became of the judges' word on the sessions that ran."""

    scored: int
    """Sessions with a reward."""
    failed: int
    """Sessions whose judges gave nothing usable: no reward, which is not a reward of 0."""
    escalated: int
    """Sessions on which the large model had the last word."""


class TeacherCounts(Model):
    """What the teacher made of the sessions that ran."""

    valid: int
    """The last attempt was found good."""
    invalid: int
    """The last attempt was found wanting."""
    without_verdict: int
    """The teacher was not asked (mode auto), or could not be had."""
    intervened: int
    """Sessions in which the student got guidance."""
    repeated: int
    """Sessions in which the student ran more than once."""


class LoopFigures(Model):
    """What the loop around the student did."""

    rewards: RewardCounts
    """What the judges came to."""
    teacher: TeacherCounts
    """What the teacher came to."""
    first_attempt_strict_success: Rate
    """Strict success of the first attempts: what the student did before any guidance."""
    learning_keys: int
    """Streams of sessions that learn together."""
    entries_at_start: int | None
    """Playbook entries that the keys' first sessions could use; null when the sessions do not say."""
    entries_learnt: int | None
    """Entries that passed the gates; null when nothing was learnt from."""
    entries_rejected: int | None
    """Entries that did not; null when nothing was learnt from."""
    learner_failures: int
    """Sessions from which nothing was learnt because the learner gave nothing usable."""


class CurveBlock(Model):
    """Consecutive sessions of one learning key."""

    key: str
    """The learning key."""
    label: str
    """Workflow and complexity of its first session."""
    first: int
    """Place of the block's first session among the key's, from 1."""
    last: int
    """Place of its last."""
    rewarded: int
    """Sessions with a reward."""
    reward: float | None
    """Their mean reward; null without any."""
    decided: int
    """Sessions with a verdict."""
    strict_success: float | None
    """The share of these in which every turn succeeded; null without any."""


class Repeats(Model):
    """What running every conversation several times shows."""

    epochs: int
    """How often each was run."""
    conversations: int
    """How many there are."""
    pass_hat_k: dict[str, Mean]
    """By k: chance that k runs of a conversation all succeed, over conversations."""
    pass_at_k: dict[str, Mean]
    """By k: chance that at least one of k runs of a conversation succeeds, over conversations."""


class RunInfo(Model):
    """What the caller knows of a run; what the sessions say of themselves goes first."""

    run_id: str | None = None
    """Identifier of the run; refused if the sessions name another."""
    dataset: str | None = None
    """Name of the dataset; refused if the sessions name another."""
    dataset_revision: str | None = None
    """SHA-256 of the dataset; refused if the sessions name another."""
    agent_config: dict[str, Any] | None = None
    """The agent and its settings."""
    backend: str | None = None
    """What the CRM ran on."""
    use_llm_judge: bool | None = None
    """Whether a model judged replies."""
    config_path: str | None = None
    """Configuration file of the run."""
    conversations_path: str | None = None
    """The dataset's file."""
    tasks_path: str | None = None
    """The run's tasks.jsonl."""
    software: dict[str, str] = Field(default_factory=dict)
    """Versions of what took part, by name."""


class Metrics(Model):
    """A baseline in figures, computed from its sessions.jsonl alone."""

    schema_version: Literal[1] = METRICS_VERSION
    """Version of this layout."""

    run_id: str | None
    """Identifier of the run."""
    dataset: str | None
    """Name of the dataset."""
    dataset_revision: str | None
    """SHA-256 of the dataset's file."""
    agent_config: dict[str, Any] | None
    """The agent and its settings."""
    backend: str | None
    """What the CRM ran on."""
    use_llm_judge: bool | None
    """Whether a model judged replies."""
    config_path: str | None
    """Configuration file of the run; null when there was none."""
    conversations_path: str | None
    """The dataset's file."""
    tasks_path: str | None
    """The run's tasks.jsonl."""
    software: dict[str, str]
    """Versions of what took part, by name."""
    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""

    total_conversations: int
    """Sessions in the file, whatever became of them; with several epochs, each conversation's several."""
    atlas_successful_runs: int
    """Sessions that ran to their end, whatever the agent achieved."""
    harness_successes: int
    """Of those, conversations in which every turn succeeded."""
    failed_conversations: int
    """Of those, conversations in which a turn failed."""
    conversations_without_verdict: int
    """Of those, conversations that could not be decided."""
    failed_runs: int
    """Sessions that the infrastructure ended; never the agent's fault, in no rate."""
    not_recorded_runs: int
    """Conversations that a recorded run does not contain; in no rate."""
    not_run: int = 0
    """Conversations that the run's budget did not suffice for; in no rate."""
    infrastructure_failures: tuple[InfrastructureFailure, ...]
    """The most frequent reasons of failed runs, at most ten."""
    execution_modes: dict[str, int]
    """Sessions by execution mode."""

    strict_success: Rate
    """Conversations in which every turn succeeded."""
    strict_success_bounds: Bounds | None
    """What strict success could have been; null when every conversation has its verdict."""
    state_match: Rate
    """Conversations that left the CRM in the state the ground truth leaves."""
    chain_success: Rate
    """Chained conversations in which every segment succeeded."""
    conversations_with_tool_success: Rate
    """Conversations with at least one right tool call."""
    conversations_with_response_success: Rate
    """Conversations with at least one right reply, among those with a scored one."""

    turns_planned: int | None
    """Turns of the conversations that ran; null when the sessions do not say."""
    turns_executed: int
    """Turns of them that were executed: what turn rates are made of, but for undecided ones."""
    turns_undecided: int = 0
    """Of those, turns without a verdict, since a judge was needed and failed; in no rate."""
    turn_success: Rate
    """Turns that succeeded as a whole."""
    turn_tool_success: Rate
    """Turns whose tool call was right."""
    turn_response_success: Rate
    """Scored replies that were right."""
    expected_failures: Rate
    """Turns meant to fail that failed as they should."""
    replies: ReplyCounts
    """How many replies were scored, and how many not."""

    by_workflow: dict[str, ConversationGroup]
    """By the dataset's workflow category."""
    by_complexity: dict[str, ConversationGroup]
    """By the dataset's complexity level."""
    by_tool: dict[str, TurnGroup]
    """By the tool that the ground truth calls."""
    by_turn: dict[str, TurnGroup]
    """By position in the conversation, from 1."""
    failure_kinds: tuple[FailureKind, ...]
    """Why turns failed, most frequent first."""
    first_failed_turn: dict[str, int]
    """Failed conversations by the position of their first failed turn."""

    token_usage: dict[str, RoleTokens]
    """Tokens by role; empty when none were reported."""
    tokens_per_conversation: Mean
    """Tokens of all roles, over conversations that ran and report any."""
    tokens_per_success: float | None
    """All reported tokens / successes among the sessions reporting; null without either."""
    cost_usd: dict[str, RoleCost]
    """US dollars by role; empty when none were reported."""
    cost_usd_per_conversation: Mean
    """US dollars of all roles, over conversations that ran and report any."""
    cost_usd_per_success: float | None
    """All reported cost / successes among the sessions reporting; null without either."""

    total_cost_usd: float | None = None
    """US dollars of all sessions and roles; null when none was reported."""

    loop: LoopFigures | None = None
    """What teacher, judges and learner did; null where only a student worked."""
    learning_curve: tuple[CurveBlock, ...] = ()
    """Rewards over the order of each learning key's sessions; empty without a loop."""
    repeats: Repeats | None = None
    """pass^k and pass@k; null where every conversation was run once."""

    reward_summary: Mean
    """Rewards that judges gave to sessions."""
    harness_reward_summary: Mean
    """The harness's own signal: the share of a conversation's turns that succeeded."""
    duration_seconds: Mean
    """Time a conversation took."""
