"""How a conversation is run and verified: agents, the turn loop, verdicts, batches."""

from __future__ import annotations

from crm_assets.harness.agents import (
    Agent,
    AgentName,
    AgentSession,
    AgentSpec,
    NotRecordedError,
    Outcome,
    ScriptedAgent,
    ToolCall,
    make_agent,
)
from crm_assets.harness.assembly import without_verdict
from crm_assets.harness.audit import audit_dataset
from crm_assets.harness.batch import BatchSummary, Item, Limits, Progress, Source, run_batch
from crm_assets.harness.comparison import argument_mismatch, same_tool
from crm_assets.harness.dataset_run import run_harness
from crm_assets.harness.ground_truth import (
    GroundTruth,
    GroundTruthStore,
    code_fingerprint,
)
from crm_assets.harness.results import (
    RESULT_SCHEMA_VERSION,
    CallScore,
    ConversationResult,
    JudgeVerdict,
    ReplyScore,
    TokenUsage,
    TurnResult,
)
from crm_assets.harness.runner import ConversationRunner
from crm_assets.harness.state import canonical_state, state_difference
from crm_assets.harness.verification import Judge, TurnQuestion

__all__ = [
    "RESULT_SCHEMA_VERSION",
    "Agent",
    "AgentName",
    "AgentSession",
    "AgentSpec",
    "BatchSummary",
    "CallScore",
    "ConversationResult",
    "ConversationRunner",
    "GroundTruth",
    "GroundTruthStore",
    "Item",
    "Judge",
    "JudgeVerdict",
    "Limits",
    "NotRecordedError",
    "Outcome",
    "Progress",
    "ReplyScore",
    "ScriptedAgent",
    "Source",
    "TokenUsage",
    "ToolCall",
    "TurnQuestion",
    "TurnResult",
    "argument_mismatch",
    "audit_dataset",
    "canonical_state",
    "code_fingerprint",
    "make_agent",
    "run_batch",
    "run_harness",
    "same_tool",
    "state_difference",
    "without_verdict",
]
