"""sessions.jsonl: the whole line of a session, transcript included.

Data classes rather than models: orjson writes them as they are, hundreds of times a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crm_assets.records.results import ConversationResult
from crm_assets.records.summary import SessionStatus
from crm_assets.records.trace import AdaptiveSummary, RewardStats, SessionReward, SessionTrace

__all__ = [
    "FinalPayload",
    "ImportedVerdicts",
    "LoopFacts",
    "LoopSession",
    "PastTurnVerdicts",
    "PastVerdicts",
    "RoleUsage",
    "SessionFacts",
    "SessionRecord",
]


@dataclass(frozen=True)
class RoleUsage:
    """Tokens and calls of one role in a session. None stands for what was not counted."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompts', those read from the provider's cache."""
    reasoning_tokens: int | None = None
    """Of the completions', those spent on reasoning."""
    total_tokens: int | None = None
    calls: int | None = None
    """Failed ones included."""
    failed_calls: int | None = None
    unknown_usage_calls: int | None = None
    """Of these, those of unknown tokens: where there are any, the tokens are the least it was."""
    unknown_cost_calls: int | None = None
    """Of these, those of unknown cost."""


@dataclass(frozen=True)
class PastVerdicts:
    """A past results file's own verdicts on a conversation."""

    recorded_status: str | None = None
    recorded_overall_success: bool | None = None
    recorded_turns_executed: int | None = None
    recorded_failed_at_turn: int | None = None
    recorded_reward_signal: float | None = None
    recorded_chain_success: bool | None = None
    recorded_state_match: bool | None = None
    recorded_error_message: str | None = None
    recorded_execution_mode: str | None = None
    recorded_reward: float | None = None
    recorded_cost_usd: Mapping[str, float] | None = None
    """US dollars by role."""
    recorded_dataset_revision: str | None = None


@dataclass(frozen=True)
class PastTurnVerdicts:
    """A past results file's own verdicts on a turn."""

    turn_id: int | None = None
    recorded_success: bool | None = None
    recorded_tool_success: bool | None = None
    recorded_response_success: bool | None = None
    recorded_verification: str | None = None
    recorded_error: str | None = None
    recorded_judge_score: float | None = None
    recorded_judge_rationale: str | None = None


@dataclass(frozen=True)
class ImportedVerdicts:
    """Source of an imported session, and the verdicts recorded there."""

    file: str
    sha256: str
    format: str
    provider: str | None = None
    model: str | None = None
    recorded: PastVerdicts | None = None
    """None if the file does not have the conversation."""
    recorded_turns: tuple[PastTurnVerdicts, ...] = ()


@dataclass(frozen=True)
class SessionFacts:
    """The run's facts about a session. Facts that all its sessions share are in run.json."""

    workflow_category: str | None = None
    complexity_level: str | None = None
    execution_mode: str | None = None
    """`harness`, `imported`, or the Atlas loop's mode."""
    session_reward: SessionReward | None = None
    """None where the judges gave none, or none were asked."""
    reward_stats: RewardStats | None = None
    token_usage: Mapping[str, RoleUsage] = field(default_factory=dict)
    """By role."""
    cost_usd: Mapping[str, float] = field(default_factory=dict)
    """US dollars of the calls of known cost, by role; a role without any is left out."""
    imported: ImportedVerdicts | None = None
    """None if the run is no import."""
    replay_of: str | None = None
    """The run that was replayed: tokens and dollars are that run's. None for a session of its own."""


@dataclass(frozen=True)
class LoopFacts(SessionFacts):
    """Facts that the Atlas loop adds; None where a session did not get that far."""

    adaptive_summary: AdaptiveSummary | None = None
    """The mode and why it was chosen."""
    learning_key: str | None = None
    """The stream of sessions that it learns in."""
    reward_status: str | None = None
    """`scored`, or `failed`: no judgement could be used."""
    reward_escalated: bool | None = None
    small_judge_scores: tuple[float, ...] | None = None
    """Of all usable judgements of the small model, those that the large one overruled included."""
    attempts: int | None = None
    """Number of times that the student ran."""
    teacher_intervened: bool | None = None
    """The student got guidance."""
    teacher_valid: bool | None = None
    """The teacher's verdict on the last attempt."""
    first_attempt_success: bool | None = None
    """Strict success of the first attempt."""
    entries_available: int | None = None
    """Playbook entries at its start."""
    entries_learnt: int | None = None
    entries_rejected: int | None = None
    learning_error: str | None = None
    """Why nothing was learnt."""
    drift_alert: bool | None = None
    """The reward is far from those that its learning key had before."""
    review_status: str | None = None


@dataclass(frozen=True)
class FinalPayload:
    """The end of a session, in short."""

    final_answer: str | None = None
    """The agent's last reply."""
    overall_success: bool | None = None
    reward_signal: float | None = None
    state_match: bool | None = None


@dataclass(frozen=True)
class SessionRecord:
    """A session's line, with the fields that all agents have."""

    schema_version: int
    conversation_id: str
    task_id: str
    """`<conversation_id>::<run_id>`."""
    epoch: int
    """Repetition of the task, from 1."""
    status: SessionStatus
    final_payload: FinalPayload
    conversation_result: ConversationResult
    """The harness's result, turn by turn."""
    atlas_metadata: SessionFacts


@dataclass(frozen=True)
class LoopSession(SessionTrace, SessionRecord):
    """The line of a session of the Atlas loop; its trace is empty where it did not come that far."""

    atlas_metadata: LoopFacts

    @property
    def ran(self) -> ConversationResult | None:
        """The result of a session that ran to its end; others have no verdict."""
        return self.conversation_result if self.status == "succeeded" else None
