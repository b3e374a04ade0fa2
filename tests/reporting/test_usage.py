from __future__ import annotations

import pytest

from .conftest import Measure, Record, failed_turn, session, turn, unrun


def used(prompt: int | None, completion: int | None, total: int | None = None) -> Record:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


@pytest.mark.parametrize("usage", [{}, None, {"student": used(0, 0, 0)}])
def test_no_tokens_are_unknown_not_zero(measure: Measure, usage: Record | None) -> None:
    metrics = measure(session("c-1", meta={"token_usage": usage}))
    assert metrics.token_usage == {}
    assert metrics.tokens_per_conversation.mean is None
    assert metrics.tokens_per_conversation.count == 0
    assert metrics.tokens_per_conversation.missing == 1
    assert metrics.tokens_per_success is None


def test_no_cost_is_unknown_not_zero(measure: Measure) -> None:
    metrics = measure(session("c-1"), session("c-2", meta={"cost_usd": None}))
    assert metrics.cost_usd == {}
    assert metrics.cost_usd_per_conversation.mean is None
    assert metrics.cost_usd_per_success is None


def test_a_cost_of_zero_that_was_reported_is_a_cost(measure: Measure) -> None:
    metrics = measure(session("c-1", meta={"cost_usd": {"student": 0.0}}))
    assert metrics.cost_usd_per_conversation.mean == 0.0
    assert metrics.cost_usd_per_success == 0.0


def test_tokens_by_role_by_conversation_and_by_success(measure: Measure) -> None:
    metrics = measure(
        session("c-1", meta={"token_usage": {"student": used(90, 10, 100), "judge": used(9, 1)}}),
        session("c-2", [failed_turn(1)], meta={"token_usage": {"student": used(180, 20, 200)}}),
    )
    student, judge = metrics.token_usage["student"], metrics.token_usage["judge"]
    assert (student.prompt_tokens, student.completion_tokens) == (270, 30)
    assert (student.total_tokens, student.conversations) == (300, 2)
    assert (judge.total_tokens, judge.conversations) == (10, 1)
    assert metrics.tokens_per_conversation.mean == 155.0
    assert metrics.tokens_per_success == 310.0


def test_counts_nobody_reported_stay_unknown(measure: Measure) -> None:
    metrics = measure(session("c-1", meta={"token_usage": {"student": used(None, None, 50)}}))
    student = metrics.token_usage["student"]
    assert (student.prompt_tokens, student.completion_tokens, student.calls) == (None, None, None)
    assert student.total_tokens == 50


def test_calls_are_counted_where_reported(measure: Measure) -> None:
    usage = {"judge": {**used(1, 1), "calls": 3}}
    metrics = measure(
        session("c-1", meta={"token_usage": usage}), session("c-2", meta={"token_usage": usage})
    )
    assert metrics.token_usage["judge"].calls == 6


def test_turns_are_summed_where_the_session_keeps_no_account(measure: Measure) -> None:
    turns = [
        turn(1, token_usage={"student": used(10, 5, 15)}),
        turn(2, token_usage={"student": used(20, 5, 25), "judge": used(None, None, 7)}),
    ]
    metrics = measure(session("c-1", turns))
    student = metrics.token_usage["student"]
    assert (student.prompt_tokens, student.completion_tokens, student.total_tokens) == (30, 10, 40)
    assert metrics.token_usage["judge"].total_tokens == 7


def test_the_sessions_own_account_is_not_added_to_its_turns(measure: Measure) -> None:
    turns = [turn(1, token_usage={"student": used(10, 5, 15)})]
    metrics = measure(session("c-1", turns, meta={"token_usage": {"student": used(10, 5, 15)}}))
    assert metrics.token_usage["student"].total_tokens == 15


def test_conversations_that_report_nothing_are_in_no_mean(measure: Measure) -> None:
    metrics = measure(
        session("c-1", meta={"token_usage": {"student": used(90, 10)}, "cost_usd": {"student": 1}}),
        session("c-2"),
    )
    tokens, cost = metrics.tokens_per_conversation, metrics.cost_usd_per_conversation
    assert (tokens.mean, tokens.count, tokens.missing) == (100.0, 1, 1)
    assert (cost.mean, cost.count, cost.missing) == (1.0, 1, 1)
    # c-2 succeeded at an unknown price: it must not make c-1's success look half as dear.
    assert metrics.tokens_per_success == 100.0
    assert metrics.cost_usd_per_success == 1.0


def test_failed_sessions_are_paid_for_but_are_no_conversation(measure: Measure) -> None:
    paid = {"token_usage": {"student": used(90, 10)}, "cost_usd": {"student": 0.5, "judge": 0.25}}
    metrics = measure(session("c-1", meta=paid), unrun("c-2", **paid))
    assert metrics.token_usage["student"].total_tokens == 200
    assert metrics.tokens_per_conversation.mean == 100.0
    assert metrics.tokens_per_conversation.count == 1
    assert metrics.tokens_per_success == 200.0
    assert metrics.cost_usd["judge"].usd == 0.5
    assert metrics.cost_usd_per_conversation.mean == 0.75
    assert metrics.cost_usd_per_success == 1.5


def test_without_a_success_there_is_no_price_of_one(measure: Measure) -> None:
    spent = {"token_usage": {"student": used(9, 1)}, "cost_usd": {"student": 0.1}}
    metrics = measure(session("c-1", [failed_turn(1)], meta=spent))
    assert metrics.tokens_per_success is None
    assert metrics.cost_usd_per_success is None
    assert metrics.tokens_per_conversation.mean == 10.0
