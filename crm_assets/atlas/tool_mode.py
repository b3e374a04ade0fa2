"""Finds out if a student's server knows native tool calls (`agent.tool_mode: auto`)."""

from __future__ import annotations

from typing import Literal

from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.llm import Caller, ChatRequest, Message, Models, RefusedRequest

__all__ = ["find_tool_mode"]

_QUESTION = "List the quote prefixes."


async def find_tool_mode(models: Models, session: str, agent: AgentConfig) -> Literal["native", "text"]:
    """Ask the student's model for a tool call; return `native` if it makes one, else `text`.

    Args:
        models: who is asked.
        session: key of the session on whose account it is.
        agent: the student.

    Raises:
        ModelError: the model could not be asked.
        ConfigError: its key is missing or refused.
        BudgetExhausted: the run's budget is spent.
    """
    native = agent.model_copy(update={"tool_mode": "native"})
    messages = (Message("system", system_prompt(native)), Message("user", _QUESTION))
    request = ChatRequest(agent.model, messages, function_tools(), tool_choice="required")
    try:
        answer = await models.complete(Caller(session, "probe"), request)
    except RefusedRequest:  # it takes no tools at all
        return "text"
    return "native" if answer.reply.tool_calls else "text"
