"""The only door to language models.

litellm, which is heavy, is imported when the first model is asked, not before.
"""

from __future__ import annotations

from crm_assets.llm.errors import BudgetExhausted, MalformedReply, ModelError
from crm_assets.llm.interface import ROLES, Answer, Caller, Models, ReplyCheck, Role
from crm_assets.llm.messages import ChatReply, ChatRequest, FunctionCall, FunctionTool, Message, Usage
from crm_assets.llm.spec import OFFLINE_PROVIDER, ModelSpec
from crm_assets.llm.spending import DOLLAR_DIGITS, Spending

__all__ = [
    "DOLLAR_DIGITS",
    "OFFLINE_PROVIDER",
    "ROLES",
    "Answer",
    "BudgetExhausted",
    "Caller",
    "ChatReply",
    "ChatRequest",
    "FunctionCall",
    "FunctionTool",
    "MalformedReply",
    "Message",
    "ModelError",
    "ModelSpec",
    "Models",
    "ReplyCheck",
    "Role",
    "Spending",
    "Usage",
]
