"""Writes what came of an attempt as a line of the ledger, with estimates of what is not known."""

from __future__ import annotations

from crm_assets.llm.entries import CallError, LedgerEntry, RecordedReply
from crm_assets.llm.messages import ChatReply, ChatRequest, Usage
from crm_assets.llm.pricing import Price
from crm_assets.llm.recording import Call
from crm_assets.llm.replies import Completion

__all__ = ["about_prompt_tokens", "book"]

_CHARACTERS_A_TOKEN = 4


def about_prompt_tokens(request: ChatRequest) -> int:
    """Return about how many tokens a prompt has, before anyone has counted them."""
    return request.characters // _CHARACTERS_A_TOKEN


def _estimate(request: ChatRequest, completion: Completion) -> Usage | None:
    """Return about what a call took of which nothing is known; None where the tokens are known."""
    if completion.usage is not None:
        return None
    most = request.effective_max_output_tokens or 0
    written = _written_tokens(completion.reply) if completion.reply else most
    return Usage(about_prompt_tokens(request), written)


def _written_tokens(reply: ChatReply) -> int:
    characters = len(reply.content or "") + sum(len(call.arguments) for call in reply.tool_calls)
    return characters // _CHARACTERS_A_TOKEN


def book(
    call: Call,
    number: int,
    completion: Completion,
    error: CallError | None,
    *,
    started_at: str,
    latency_seconds: float,
    sent: ChatRequest,
    price: Price,
) -> LedgerEntry:
    """Return the ledger's line of an attempt.

    Args:
        call: the call.
        number: of the attempt, from 1.
        completion: what came of it.
        error: what was wrong with that, if anything.
        started_at: ISO 8601, UTC.
        latency_seconds: until it came.
        sent: the request as it was sent, which an estimate is made from where tokens are unknown.
        price: of the model.
    """
    reply, usage = completion.reply, completion.usage
    estimate = _estimate(sent, completion)
    cost = completion.cost_usd
    if usage is None and price.is_free:
        cost = 0.0  # whatever the tokens were
    return LedgerEntry(
        session=call.caller.session,
        role=call.caller.role,
        model=call.request.model.name,
        request_sha256=call.request.sha256,
        ordinal=call.ordinal,
        attempt=number,
        started_at=started_at,
        latency_seconds=latency_seconds,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        cost_usd=cost,
        estimated_tokens=estimate.total_tokens if estimate else None,
        estimated_usd=price.cost_usd(estimate) if estimate and cost is None else None,
        error=error,
        reply=None
        if reply is None
        else RecordedReply(
            content=reply.content,
            tool_calls=reply.tool_calls,
            finish_reason=reply.finish_reason,
            state=dict(reply.state) if reply.state else None,
        ),
        sent=completion.sent,
        server=completion.server,
        answered_by=completion.answered_by,
        note=completion.note,
    )
