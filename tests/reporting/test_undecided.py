"""Turns that nobody could decide, and sessions that the budget did not suffice for."""

from __future__ import annotations

import pytest

from crm_assets.reporting import Metrics, Rate, read_metrics, write_metrics

from .conftest import Measure, Record, failed_turn, session, turn, unrun, whole_page


def undecided_turn(turn_id: int = 1, **changes: object) -> Record:
    """A turn for whose call a judge was needed and could not be had."""
    return turn(turn_id, **{"tool_success": None, "success": None, "verification": "undecided", **changes})


def undecided(conversation_id: str, *turns: Record) -> Record:
    """A session without a failed turn and with an undecided one."""
    decided = [each["success"] for each in turns if each["success"] is not None]
    signal = sum(decided) / len(decided) if decided else None
    verdicts = {"overall_success": None, "failed_at_turn": None, "reward_signal": signal}
    return session(conversation_id, turns, result=verdicts)


def plain(rate: Rate) -> tuple[int, int]:
    return rate.successes, rate.count


def test_an_undecided_turn_is_in_no_rate_and_counted_apart(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [turn(1), failed_turn(2)]), undecided("c-2", turn(1), undecided_turn(2))
    )
    assert (metrics.turns_executed, metrics.turns_undecided) == (4, 1)
    assert plain(metrics.turn_success) == plain(metrics.turn_tool_success) == (2, 3)
    assert plain(metrics.by_turn["2"].turn_success) == (0, 1)
    assert metrics.by_turn["2"].turns == 2
    assert plain(metrics.by_tool["client_search"].turn_tool_success) == (2, 3)
    [kind] = metrics.failure_kinds
    assert (kind.kind, kind.turns) == ("tool_mismatch", 1)
    assert plain(kind.share_of_turns) == (1, 3)


def test_a_conversation_with_an_undecided_turn_has_no_verdict(measure: Measure) -> None:
    metrics = measure(session("c-1"), undecided("c-2", turn(1), undecided_turn(2)))
    assert plain(metrics.strict_success) == (1, 1)
    assert (metrics.conversations_without_verdict, metrics.failed_conversations) == (1, 0)
    bounds = metrics.strict_success_bounds
    assert bounds is not None
    assert (bounds.missing, plain(bounds.worst), plain(bounds.best)) == (1, (1, 2), (2, 2))


def test_a_failed_turn_beside_an_undecided_one_fails_its_conversation(measure: Measure) -> None:
    like_it = undecided_turn(1, verification="tool_mismatch")
    both = session("c-1", [like_it, failed_turn(2)], result={"failed_at_turn": None})
    metrics = measure(both)
    assert plain(metrics.strict_success) == (0, 1)
    assert metrics.first_failed_turn == {"2": 1}
    [kind] = metrics.failure_kinds
    assert (kind.first_failures, kind.examples[0].turn_id, kind.examples[0].first_failure) == (1, 2, True)


def test_nothing_decided_is_no_reward_of_0(measure: Measure) -> None:
    metrics = measure(undecided("c-1", undecided_turn()), session("c-2", [failed_turn()]))
    mean = metrics.harness_reward_summary
    assert (mean.count, mean.missing, mean.mean) == (1, 1, 0.0)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([undecided_turn(1), undecided_turn(2)], (0, 0)),
        ([undecided_turn(1), failed_turn(2)], (0, 0)),  # the undecided one may have been right
        ([undecided_turn(1), turn(2)], (1, 1)),
        ([failed_turn(1)], (0, 1)),
    ],
)
def test_a_conversation_that_may_have_had_a_right_call_is_not_counted_as_having_none(
    measure: Measure, turns: list[Record], expected: tuple[int, int]
) -> None:
    assert plain(measure(undecided("c-1", *turns)).conversations_with_tool_success) == expected


def test_a_reply_that_is_undecided_leaves_the_calls_verdict(measure: Measure) -> None:
    late = undecided_turn(1, tool_success=True, response_status="unscored")
    metrics = measure(undecided("c-1", late))
    assert plain(metrics.turn_tool_success) == (1, 1)
    assert metrics.turn_success.count == metrics.turn_response_success.count == 0
    assert metrics.replies.unscored == 1


# --- the budget


@pytest.fixture
def short(measure: Measure) -> Metrics:
    """Two sessions that ran, one that the budget did not suffice for, one that broke."""
    late = unrun("c-3", "not_run")
    late["conversation_result"]["error_message"] = "The budget is spent."
    return measure(session("c-1"), undecided("c-2", turn(1), undecided_turn(2)), late, unrun("c-4"))


def test_what_was_not_run_is_counted_apart_and_bounds_the_result(short: Metrics) -> None:
    assert (short.total_conversations, short.atlas_successful_runs) == (4, 2)
    assert (short.not_run, short.failed_runs, short.not_recorded_runs) == (1, 1, 0)
    assert plain(short.strict_success) == (1, 1)
    bounds = short.strict_success_bounds
    assert bounds is not None
    assert (bounds.missing, plain(bounds.worst), plain(bounds.best)) == (3, (1, 4), (4, 4))
    assert [failure.message for failure in short.infrastructure_failures] == ["connection lost"]
    [group] = short.by_workflow.values()
    assert (group.conversations, group.ran) == (4, 2)


def test_a_session_that_was_not_run_needs_no_result(measure: Measure) -> None:
    late = unrun("c-2", "not_run")
    late["conversation_result"] = None
    assert measure(session("c-1"), late).not_run == 1


def test_the_readme_says_what_was_not_run_and_what_nobody_could_decide(short: Metrics) -> None:
    readme = whole_page(short)
    assert "**1 not run because the budget was spent**" in readme
    assert (
        "1 ended by an infrastructure failure, 1 undecided, 1 not run because the budget was spent"
        in readme
    )
    assert "Not in any turn rate, undecided: 1 of 3 turns" in readme


def test_the_readme_says_nothing_of_what_did_not_happen(measure: Measure) -> None:
    readme = whole_page(measure(session("c-1"), unrun("c-2")))
    assert "budget" not in readme
    assert "undecided: " not in readme


ASKED = {"tool_name": "client_search", "arguments": {}, "writes": False}
MADE, NOT_MADE = {**ASKED, "made": True}, {**ASKED, "made": False}


def test_turns_that_asked_for_further_calls_are_counted_and_the_readme_warns(measure: Measure) -> None:
    turns = [turn(1, calls=[MADE, NOT_MADE]), turn(2, calls=[MADE, MADE]), turn(3, calls=[]), turn(4)]
    metrics = measure(session("c-1", turns))
    assert metrics.turns_with_further_calls == 1
    assert "In 1 of 4 turns the agent asked for further calls" in whole_page(metrics)
    none = measure(session("c-1", turns[1:]))
    assert none.turns_with_further_calls == 0
    assert "further calls" not in whole_page(none)
    assert measure(session("c-1", [turn()])).turns_with_further_calls is None, "unknown is not 0"


def test_a_judges_no_is_a_failure_kind_in_words(measure: Measure) -> None:
    readme = whole_page(measure(session("c-1", [failed_turn(1, "judged_failure")])))
    assert "Different call, rejected by a judge" in readme


def test_metrics_of_before_there_was_a_budget_can_still_be_read(measure: Measure, tmp_path) -> None:
    metrics = measure(session("c-1"))
    path = tmp_path / "metrics.json"
    write_metrics(path, metrics)
    lines = path.read_text().splitlines()
    kept = [line for line in lines if '"not_run"' not in line and '"turns_undecided"' not in line]
    assert len(kept) == len(lines) - 2
    path.write_text("\n".join(kept))
    assert read_metrics(path) == metrics
