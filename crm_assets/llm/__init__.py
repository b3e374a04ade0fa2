"""The only client to language models.

`openai/…` models are asked directly, all others through litellm, which is imported when the first of them
is asked and not before.
"""

from __future__ import annotations

from crm_assets.llm.budget import Budget
from crm_assets.llm.client import Activity, ModelClient
from crm_assets.llm.entries import LedgerEntry, read_ledger
from crm_assets.llm.failures import RetryPolicy, one_line
from crm_assets.llm.interface import (
    ROLES,
    Answer,
    Caller,
    ContextOverflow,
    MalformedReply,
    ModelError,
    Models,
    RefusedRequest,
    ReplyCheck,
    Role,
)
from crm_assets.llm.json_replies import ask, json_check
from crm_assets.llm.ledger import Ledger, ledger_totals, merge_ledgers
from crm_assets.llm.limits import ProviderLimits
from crm_assets.llm.messages import (
    ChatReply,
    ChatRequest,
    FunctionCall,
    FunctionTool,
    Message,
    ProviderState,
    SentParameters,
    ToolChoice,
    Usage,
)
from crm_assets.llm.prompts import JSON_FENCE, UnitScore, cut, json_block
from crm_assets.llm.reading import calls_in_text, object_arguments, parse_object
from crm_assets.llm.recording import RecordingModels, ReplayModels
from crm_assets.llm.redaction import make_redactor
from crm_assets.llm.request_log import RequestLog
from crm_assets.llm.spec import OFFLINE_PROVIDER, ModelSpec
from crm_assets.llm.spending import (
    DOLLAR_DIGITS,
    BudgetExhausted,
    Spending,
    answers_by_model,
)

__all__ = [
    "DOLLAR_DIGITS",
    "JSON_FENCE",
    "OFFLINE_PROVIDER",
    "ROLES",
    "Activity",
    "Answer",
    "Budget",
    "BudgetExhausted",
    "Caller",
    "ChatReply",
    "ChatRequest",
    "ContextOverflow",
    "FunctionCall",
    "FunctionTool",
    "Ledger",
    "LedgerEntry",
    "MalformedReply",
    "Message",
    "ModelClient",
    "ModelError",
    "ModelSpec",
    "Models",
    "ProviderLimits",
    "ProviderState",
    "RecordingModels",
    "RefusedRequest",
    "ReplayModels",
    "ReplyCheck",
    "RequestLog",
    "RetryPolicy",
    "Role",
    "SentParameters",
    "Spending",
    "ToolChoice",
    "UnitScore",
    "Usage",
    "answers_by_model",
    "ask",
    "calls_in_text",
    "cut",
    "json_block",
    "json_check",
    "ledger_totals",
    "make_redactor",
    "merge_ledgers",
    "object_arguments",
    "one_line",
    "parse_object",
    "read_ledger",
]
