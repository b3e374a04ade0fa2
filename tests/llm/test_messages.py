"""What makes a request the same request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crm_assets.llm import ChatRequest, FunctionCall, FunctionTool, Message, ModelSpec


def tool(**changes: Any) -> FunctionTool:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    return replace(FunctionTool("client_search", "Find clients.", schema), **changes)


def request(**changes: Any) -> ChatRequest:
    model = ModelSpec(provider="openai", model="gpt-4.1-mini")
    return replace(ChatRequest(model, (Message("user", "Find Acme."),), (tool(),)), **changes)


def test_equal_requests_have_one_hash() -> None:
    assert request().sha256 == request().sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ModelSpec(provider="openai", model="gpt-4.1")},
        {"messages": (Message("user", "Find Acme!"),)},
        {"tools": ()},
        {"tools": (tool(name="contact_search"),)},
        {"tools": (tool(description="Find clients by name."),)},
        {"tools": (tool(parameters={"type": "object", "properties": {"email": {"type": "string"}}}),)},
        {"tools": (tool(), tool(name="contact_search"))},
        {"tool_choice": "required"},
        {"temperature": 0.7},
        {"max_output_tokens": 17},
        {"json_object": True},
    ],
    ids=str,
)
def test_whatever_can_change_the_reply_changes_the_hash(changes: dict[str, Any]) -> None:
    assert request(**changes).sha256 != request().sha256


def test_where_the_model_is_and_with_which_key_does_not() -> None:
    model = request().model.model_copy(update={"api_base": "http://other/v1", "api_key_env": "OTHER_KEY"})
    assert request(model=model).sha256 == request().sha256


def test_the_hash_is_the_one_that_ledgers_hold() -> None:
    """Another one would let no run be resumed or replayed that was begun before."""
    made = FunctionCall("call_1", "client_search", '{"name":"Acme"}', {"thought": "é"})
    state = {"reasoning_content": "z", "a": 1}
    messages = (
        Message("user", "Find Acme."),
        Message("assistant", None, (made,), state=state),
        Message("tool", '{"result":[]}', tool_call_id="call_1"),
    )
    known = "2baca68ea61e5ea203fb393e2586d7ba26aca40464a08d80498d1e4553e187bd"
    assert request(messages=messages, temperature=0.2).sha256 == known
