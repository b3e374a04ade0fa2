"""The typed session log: what a run's sessions.jsonl and run.json hold, and how they are read."""

from __future__ import annotations

from crm_assets.records.results import (
    RESULT_SCHEMA_VERSION,
    CallScore,
    ConversationResult,
    JudgeVerdict,
    ReplyScore,
    TokenUsage,
    TurnResult,
)

__all__ = [
    "RESULT_SCHEMA_VERSION",
    "CallScore",
    "ConversationResult",
    "JudgeVerdict",
    "ReplyScore",
    "TokenUsage",
    "TurnResult",
]
