"""The only client to language models.

litellm, which is heavy, is imported when the first model is asked, not before.
"""

from __future__ import annotations

from crm_assets.llm.asking import RecordingModels
from crm_assets.llm.budget import Budget
from crm_assets.llm.client import ModelClient
from crm_assets.llm.entries import LedgerEntry, read_ledger
from crm_assets.llm.errors import BudgetExhausted, MalformedReply, ModelError
from crm_assets.llm.interface import ROLES, Answer, Caller, Models, ReplyCheck, Role
from crm_assets.llm.json_replies import ask, json_check, parse_object
from crm_assets.llm.ledger import Ledger, ledger_totals
from crm_assets.llm.limits import ProviderLimits
from crm_assets.llm.messages import ChatReply, ChatRequest, FunctionCall, FunctionTool, Message, Usage
from crm_assets.llm.prompts import JSON_FENCE, UnitScore, cut, json_block
from crm_assets.llm.redaction import make_redactor
from crm_assets.llm.replay import ReplayModels
from crm_assets.llm.retries import RetryPolicy
from crm_assets.llm.spec import OFFLINE_PROVIDER, ModelSpec
from crm_assets.llm.spending import DOLLAR_DIGITS, Spending

__all__ = [
    "DOLLAR_DIGITS",
    "JSON_FENCE",
    "OFFLINE_PROVIDER",
    "ROLES",
    "Answer",
    "Budget",
    "BudgetExhausted",
    "Caller",
    "ChatReply",
    "ChatRequest",
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
    "RecordingModels",
    "ReplayModels",
    "ReplyCheck",
    "RetryPolicy",
    "Role",
    "Spending",
    "UnitScore",
    "Usage",
    "ask",
    "cut",
    "json_block",
    "json_check",
    "ledger_totals",
    "make_redactor",
    "parse_object",
    "read_ledger",
]
