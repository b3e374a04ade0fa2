"""Strict success asks for turns and state; older lines keep their formula; state match has a floor."""

from __future__ import annotations

import pytest

from crm_assets.reporting import summarize
from crm_assets.reporting.sessions_view import list_sessions, sessions_blocks
from crm_assets.reporting.wording import headline_rates

from .conftest import Measure, Record, Write, failed_turn, session, turn, whole_page


def newer(
    name: str, *, turns: bool | None = True, state: bool = True, floor: bool | None = False, **more: object
) -> Record:
    """A session as it is written today."""
    strict = False if turns is False or not state else turns
    result = {
        "schema_version": 2,
        "overall_success": strict,
        "turns_right": turns,
        "state_match": state,
        "noop_state_match": floor,
    }
    return session(name, [failed_turn() if turns is False else turn()], result=result, **more)


def test_right_turns_with_a_wrong_state_are_no_strict_success(measure: Measure) -> None:
    metrics = measure(newer("a"), newer("b", state=False), newer("c", turns=False), newer("d", turns=None))
    assert metrics.strict_success_formula == "turns_and_state"
    assert (metrics.strict_success.successes, metrics.strict_success.count) == (1, 3)
    assert (metrics.turns_right.successes, metrics.turns_right.count) == (2, 3)
    assert metrics.first_failed_turn == {"1": 1}
    names = list(headline_rates(metrics))
    assert names[:3] == [
        "Strict success (every turn and end state)",
        "Every turn correct",
        "State match (floor 0 of 4)",
    ]
    text = whole_page(metrics)
    assert "**33.3% of conversations have every turn and the end state correct** (1 of 3; " in text
    assert "**Every turn correct 66.7% (2 of 3; " in text


def test_older_lines_keep_their_formula(measure: Measure) -> None:
    old = session("a", [turn()], result={"state_match": False})
    metrics = measure(old)
    assert metrics.strict_success_formula == "turns"
    assert (metrics.strict_success.value, metrics.turns_right.value) == (1.0, 1.0)
    assert "Every turn correct" not in headline_rates(metrics)
    assert "have every turn correct**" in whole_page(metrics)


def test_a_run_with_older_lines_has_their_formula_throughout(measure: Measure) -> None:
    metrics = measure(session("a", [turn()]), newer("b", state=False))
    assert (metrics.strict_success_formula, metrics.strict_success.value) == ("turns", 1.0)


def test_the_floor_is_a_verdict_a_conversation(measure: Measure) -> None:
    records = [newer(name, floor=name == "a", epoch=epoch) for name in "abc" for epoch in (1, 2)]
    metrics = measure(*records)
    floor = metrics.state_match_floor
    assert floor is not None
    assert (floor.successes, floor.count, floor.value) == (1, 3, pytest.approx(1 / 3, abs=1e-6))
    assert "An agent that calls nothing gets 33.3% (floor 1 of 3)." in whole_page(metrics)
    assert "State match (floor 1 of 3)" in str(summarize(metrics))


def test_a_floor_that_nobody_computed_is_not_zero(measure: Measure) -> None:
    metrics = measure(session("a"))
    assert metrics.state_match_floor is None
    assert "floor" not in whole_page(metrics)


def test_the_list_of_sessions_shows_strict_turns_and_floor(write: Write) -> None:
    path = write([newer("a", state=False, floor=True), newer("b")])
    table, *words = sessions_blocks(path, list_sessions(path, limit=5, failed=False), failed=False)
    assert "An agent that calls nothing would match 1 of 2 end states" in str(words)
    assert "('a\\nClient Management', 'finished', '✗', '✓', '✗'" in str(table)
