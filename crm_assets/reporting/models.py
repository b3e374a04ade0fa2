"""The contents of a baseline's metrics.json."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from crm_assets.conversations.split import Subset
from crm_assets.records import PlaybookUse, ReplayedRun
from crm_assets.records.estimate import CostEstimate
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.breakdown_models import (
    Bounds,
    ConversationGroup,
    FailureExample,
    FailureKind,
    InfrastructureFailure,
    ReplyCounts,
    TurnGroup,
)
from crm_assets.reporting.figures import Mean, Model, Rate
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL
from crm_assets.reporting.judge_models import JudgeFigures
from crm_assets.reporting.loop_models import (
    AdaptiveModes,
    CurveBlock,
    LoopFigures,
    Repeats,
    RewardCounts,
    RewardSpread,
    RoleCost,
    RoleTokens,
    SessionRewards,
    TeacherCounts,
)
from crm_assets.reporting.origin import Origin, origin_of

__all__ = [
    "METRICS_VERSION",
    "MIXED_MODES",
    "REDEFINED_SINCE_1",
    "AdaptiveModes",
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
    "RewardSpread",
    "RoleCost",
    "RoleTokens",
    "RunInfo",
    "SessionRewards",
    "TeacherCounts",
    "TurnGroup",
]

METRICS_VERSION: Final = 2
MIXED_MODES: Final = "mixed"
"""Stands for the mode of a run whose sessions have several."""


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
    """True if a model judged replies."""
    config_path: str | None = None
    """Configuration file of the run; null when there was none."""
    conversations_path: str | None = None
    """The dataset's file."""
    tasks_path: str | None = None
    """The run's tasks.jsonl."""
    software: dict[str, str] = Field(default_factory=dict)
    """Versions of the software that took part, by name."""
    subset: Subset | None = None
    """The part of the dataset that was run; null for all of it, or the first of it."""
    playbook: PlaybookUse | None = None
    """The playbook that was read and written; null where none was used, or it is not recorded."""
    replay_of: ReplayedRun | None = None
    """The run that this one repeats; null for a run of its own, and not recorded by older versions."""
    estimate: CostEstimate | None = None
    """Its cost as estimated before it began; null if nothing was to be paid, or it is not recorded."""
    answered_by: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The models that answered for each model asked, as `<model> at <server>`; several: a mixed run."""


class _Versioned(Model):
    # A base of its own: fields of the first base come first in the file.
    schema_version: Literal[2] = METRICS_VERSION
    """Version of this layout."""


class Metrics(RunInfo, _Versioned):
    """A baseline in figures, computed from its sessions.jsonl alone."""

    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""

    total_conversations: int
    """Conversations, each content once: neither further epochs nor copies under other IDs add to them."""
    total_sessions: int
    """Sessions in the file, finished or not; with several epochs, several per conversation."""
    copied_conversations: int = 0
    """Conversation IDs whose content stands under another ID, too."""
    atlas_successful_runs: int
    """Sessions that finished, successful or not."""
    harness_successes: int
    """Of those, sessions with strict success."""
    failed_conversations: int
    """Of those, sessions without it."""
    conversations_without_verdict: int
    """Of those, sessions without a verdict."""
    failed_runs: int
    """Sessions that an infrastructure failure ended; in no rate."""
    not_recorded_runs: int
    """Sessions of which a recorded run has nothing to score; in no rate."""
    not_recorded_reasons: dict[str, int] = Field(default_factory=dict)
    """Those, by reason (`not_in_file`, `not_started`, `ended_in_error`, `other_turns`)."""
    not_run: int = 0
    """Sessions not run because the budget was spent; in no rate."""
    infrastructure_failures: tuple[InfrastructureFailure, ...]
    """The most frequent reasons of failed runs; at most ten."""
    execution_mode: str | None = None
    """The mode of all sessions, or `mixed`; null where an older version did not say."""
    execution_modes: dict[str, int]
    """Sessions by execution mode."""

    strict_success_formula: StrictFormula = "turns"
    """Formula of strict success: every turn right (`turns`), or the end state, too."""
    strict_success: Rate
    """Sessions with strict success."""
    strict_success_bounds: Bounds | None
    """Strict success at worst and at best; null when every session has a verdict."""
    turns_right: Rate
    """Sessions in which every turn succeeded."""
    state_match: Rate
    """Sessions that left the CRM in the expected state."""
    state_match_floor: Rate | None = None
    """State match of an agent that calls nothing, over the same conversations; null where the sessions do
    not record it."""
    chain_success: Rate
    """Sessions of chained conversations in which every segment succeeded."""
    conversations_with_tool_success: Rate
    """Conversations with at least one correct tool call, in any session."""
    conversations_with_response_success: Rate
    """Conversations with at least one correct reply in any session, among those with a scored one."""

    turns_planned: int | None
    """Turns of the finished sessions; null when these do not record it."""
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
    """Sessions with a failed turn, by the position of the first."""

    token_usage: dict[str, RoleTokens]
    """Tokens by role; empty when none were reported."""
    tokens_per_conversation: Mean
    """Tokens of all roles in a session, over conversations of which a finished session reports any."""
    tokens_per_success: float | None
    """All reported tokens / successes among the sessions reporting; null without either."""
    cost_usd: dict[str, RoleCost]
    """US dollars by role; empty when none were reported."""
    cost_usd_per_conversation: Mean
    """US dollars of all roles in a session, over conversations of which a finished session reports any."""
    cost_usd_per_success: float | None
    """All reported cost / successes among the sessions reporting; null without either."""

    total_cost_usd: float | None = None
    """US dollars of all sessions and roles; 0 for a replay; null when none was reported."""
    recorded_cost_usd: float | None = None
    """Of a replay, what the recorded run paid: the other costs here are that run's, too; null otherwise."""

    adaptive_summary: AdaptiveModes | None = None
    """Modes, and who chose them; null without a loop, and where older sessions do not say."""
    session_reward: SessionRewards | None = None
    """Range of the judges' rewards; null without any."""
    reward_stats: RewardSpread | None = None
    """Agreement of the judges of a session; null without judges."""
    loop: LoopFigures | None = None
    """Teacher, judges and learner; null for a student alone."""
    judges: JudgeFigures | None = None
    """Reliability of judges and teacher, held against the harness's verdicts; null without a loop."""
    learning_curve: tuple[CurveBlock, ...] = ()
    """Rewards over the order of each learning key's sessions; empty without a loop."""
    repeats: Repeats | None = None
    """pass^k and pass@k; null when every conversation ran once."""

    reward_summary: Mean
    """Rewards that judges gave to sessions."""
    harness_reward_summary: Mean
    """The harness's own signal: the share of a session's turns that succeeded."""
    duration_seconds: Mean
    """Duration of a session."""

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, document: Any) -> Any:
        """Bring a file of version 1, whose total counts sessions, to this version."""
        if not isinstance(document, dict) or document.get("schema_version") != 1:
            return document
        sessions, repeats = document.get("total_conversations"), document.get("repeats") or {}
        return {
            **document,
            "schema_version": METRICS_VERSION,
            "total_sessions": sessions,
            "total_conversations": repeats.get("conversations", sessions),
            "strict_success_formula": "turns",
            "turns_right": document.get("strict_success"),
        }

    @property
    def origin(self) -> Origin | None:
        """Return the results that the run repeats; None for one that measured its results itself."""
        return origin_of(self.agent_config, self.replay_of)

    @property
    def reported_tokens(self) -> int | None:
        """Tokens of all roles that the sessions report; None when none were reported."""
        tokens = [role.total_tokens for role in self.token_usage.values()]
        return sum(tokens) if tokens else None

    @property
    def own_tokens(self) -> int | None:
        """Tokens that the run itself used: none, for one that repeats another."""
        return self.reported_tokens if self.origin is None else 0

    @property
    def own_cost_usd(self) -> float | None:
        """US dollars that the run itself cost: none, for one that repeats another."""
        return self.total_cost_usd if self.origin is None else 0.0


REDEFINED_SINCE_1: Final = (
    "total_conversations",
    "strict_success_bounds",
    "conversations_with_tool_success",
    "conversations_with_response_success",
    "by_workflow",
    "by_complexity",
    "failure_kinds",
    "token_usage",
    "tokens_per_conversation",
    "cost_usd",
    "cost_usd_per_conversation",
    "reward_summary",
    "harness_reward_summary",
    "duration_seconds",
)
"""Figures for which version 1 took every session of a conversation for another conversation."""
