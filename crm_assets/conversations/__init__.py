"""Conversations: their models, loading, references between turns, dataset audit and revision."""

from __future__ import annotations

from crm_assets.conversations.audit import audit
from crm_assets.conversations.audit_report import AuditFact, AuditReport, ReplayFinding
from crm_assets.conversations.conversation import Conversation, ExpectedResponse, JsonObject, Turn
from crm_assets.conversations.findings import DatasetError, Finding
from crm_assets.conversations.load import (
    DatasetSummary,
    check_dataset,
    conversation_ids,
    load_conversations,
)
from crm_assets.conversations.references import (
    Reference,
    ReferenceUnresolved,
    find_placeholders,
    find_references,
    resolve,
    turn_output,
)
from crm_assets.conversations.replies import normalize_reply, unreproducible_values
from crm_assets.conversations.revision import DatasetRevision, read_revision

__all__ = [
    "AuditFact",
    "AuditReport",
    "Conversation",
    "DatasetError",
    "DatasetRevision",
    "DatasetSummary",
    "ExpectedResponse",
    "Finding",
    "JsonObject",
    "Reference",
    "ReferenceUnresolved",
    "ReplayFinding",
    "Turn",
    "audit",
    "check_dataset",
    "conversation_ids",
    "find_placeholders",
    "find_references",
    "load_conversations",
    "normalize_reply",
    "read_revision",
    "resolve",
    "turn_output",
    "unreproducible_values",
]
