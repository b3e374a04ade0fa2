"""Run and verify a conversation: agents, the turn loop, verdicts."""

from __future__ import annotations

from crm_assets.harness.agents import AgentName, AgentSpec, make_agent
from crm_assets.harness.assembly import without_verdict
from crm_assets.harness.audit import audit_dataset
from crm_assets.harness.code_identity import MODEL_CODE, SCORING_CODE, code_fingerprint
from crm_assets.harness.comparison import argument_mismatch, same_tool
from crm_assets.harness.ground_truth import GroundTruth, GroundTruthStore
from crm_assets.harness.protocol import (
    Action,
    Agent,
    AgentSession,
    MadeCall,
    NotRecordedError,
    Outcome,
    ScriptedAgent,
    ToolCall,
    TurnEnd,
    take_turn,
)
from crm_assets.harness.runner import ConversationRunner
from crm_assets.harness.state import canonical_state, state_difference
from crm_assets.harness.verification import Judge, TurnQuestion

__all__ = [
    "MODEL_CODE",
    "SCORING_CODE",
    "Action",
    "Agent",
    "AgentName",
    "AgentSession",
    "AgentSpec",
    "ConversationRunner",
    "GroundTruth",
    "GroundTruthStore",
    "Judge",
    "MadeCall",
    "NotRecordedError",
    "Outcome",
    "ScriptedAgent",
    "ToolCall",
    "TurnEnd",
    "TurnQuestion",
    "argument_mismatch",
    "audit_dataset",
    "canonical_state",
    "code_fingerprint",
    "make_agent",
    "same_tool",
    "state_difference",
    "take_turn",
    "without_verdict",
]
