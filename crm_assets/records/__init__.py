"""The typed session log: what a run's sessions.jsonl and run.json hold, and how they are read."""

from __future__ import annotations

from crm_assets.records.header import (
    RUN_SCHEMA_VERSION,
    ImportedFile,
    PlaybookUse,
    ReplayedRun,
    RunHeader,
    Scalar,
    merge_software,
)
from crm_assets.records.reader import RUN_NAME, Entry, SessionLog
from crm_assets.records.results import (
    RESULT_SCHEMA_VERSION,
    CallScore,
    ConversationResult,
    JudgeVerdict,
    ReplyScore,
    TokenUsage,
    TurnCall,
    TurnResult,
)
from crm_assets.records.sessions import (
    FinalPayload,
    ImportedVerdicts,
    LoopFacts,
    LoopSession,
    PastTurnVerdicts,
    PastVerdicts,
    RoleUsage,
    SessionFacts,
    SessionRecord,
)
from crm_assets.records.summary import SessionSummary, TurnSummary, UsageSummary

__all__ = [
    "RESULT_SCHEMA_VERSION",
    "RUN_NAME",
    "RUN_SCHEMA_VERSION",
    "CallScore",
    "ConversationResult",
    "Entry",
    "FinalPayload",
    "ImportedFile",
    "ImportedVerdicts",
    "JudgeVerdict",
    "LoopFacts",
    "LoopSession",
    "PastTurnVerdicts",
    "PastVerdicts",
    "PlaybookUse",
    "ReplayedRun",
    "ReplyScore",
    "RoleUsage",
    "RunHeader",
    "Scalar",
    "SessionFacts",
    "SessionLog",
    "SessionRecord",
    "SessionSummary",
    "TokenUsage",
    "TurnCall",
    "TurnResult",
    "TurnSummary",
    "UsageSummary",
    "merge_software",
]
