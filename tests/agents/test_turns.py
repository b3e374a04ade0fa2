"""The lines and bodies that agents answer turns with."""

from __future__ import annotations

import pytest

from crm_assets.agents.command import is_answer
from crm_assets.agents.messages import Reply
from crm_assets.agents.turns import read_reply

NESTED = b"[" * 100_000


def test_a_reply_may_have_usage_and_the_number_of_its_turn():
    assert read_reply(b'{"reply": "Yes."}', 2) == Reply(2, "Yes.", {})
    full = b'{"reply": "Yes.", "turn": 1, "usage": {"prompt_tokens": 7, "cost_usd": 0.5}}'
    assert read_reply(full, 2) == Reply(1, "Yes.", {"prompt_tokens": 7, "cost_usd": 0.5})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"reply": "Yes.", "more": ' + NESTED, "JSON is nested too deeply"),
        (b'{"reply": "Yes.", "usage": {"prompt_tokens": 1e30}}', "prompt_tokens"),
        (b'{"reply": "Yes.", "usage": {"prompt_tokens": %d}}' % (1 << 70), "prompt_tokens"),
        (b'{"reply": "Yes.", "usage": {"prompt_tokens": -1}}', "prompt_tokens"),
        (b'{"reply": "Yes.", "usage": {"tokens": 1}}', "unknown field `tokens`"),
    ],
)
def test_an_answer_that_results_cannot_hold_is_refused_in_a_clause(answer: bytes, reason: str):
    with pytest.raises(ValueError, match="it must answer") as refused:
        read_reply(answer, 1)
    assert reason in str(refused.value)


def test_a_line_that_cannot_be_read_is_no_answer():
    assert is_answer(b' {"reply": "Yes."}\n')
    assert not is_answer(b'{"more": ' + NESTED)
