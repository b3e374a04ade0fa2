"""What is said of a request that cannot be derived again; the check itself: tests/defs/checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.audit.leakage import _difference
from crm_assets.llm import Caller, ChatRequest, Message, ModelSpec, RequestLog
from crm_assets.llm.request_lines import RecordedRequest, read_requests

SPEC = ModelSpec(provider="openai", model="gpt-4.1-mini")


def asked(*texts: str) -> ChatRequest:
    return ChatRequest(SPEC, tuple(Message("user", text) for text in texts))


@pytest.fixture
def recorded(tmp_path: Path) -> list[RecordedRequest]:
    path = tmp_path / "requests.jsonl.gz"
    with RequestLog(path, str) as log:
        for request in (asked("one"), asked("one", "two", "three")):
            log.record(Caller("session", "student"), request, 1)
    return list(read_requests(path, {"session"}))


@pytest.mark.parametrize(
    ("derived", "says"),
    [
        (asked("one", "two", "four"), ": its message 3 was 'three', and comes to 'four'"),
        (asked("one"), ": model, tools or parameters differ"),
        (asked("one", "two"), ": no request of 2 messages was recorded"),
    ],
)
def test_where_a_derived_request_differs_is_said(
    recorded: list[RecordedRequest], derived: ChatRequest, says: str
) -> None:
    assert _difference(derived, recorded) == says
    assert _difference(derived, []) == ""
