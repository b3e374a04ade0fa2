from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from crm_assets.reporting.comparison import compare_baselines, comparison_blocks, render_page
from crm_assets.reporting.comparison import flips as flips_module
from crm_assets.reporting.comparison.models import Flip
from crm_assets.reporting.terminal import show

from ..conftest import Record, failed_turn, session, turn
from .conftest import RUN_A, RUN_B, Baseline, verdicts

SEED = "11111111-1111-4111-8111-111111111111"
MADE_A, MADE_B = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"


def flips(baseline: Baseline, a: list[Record], b: list[Record]) -> tuple[Flip, ...]:
    return compare_baselines(baseline(RUN_A, a), baseline(RUN_B, b), resamples=100).flips


def test_lost_come_first_then_gained_then_end_states(baseline: Baseline) -> None:
    a = verdicts([True, False, True, True, None])
    b = verdicts([True, True, False, True, True])
    b[3]["conversation_result"]["state_match"] = False
    found = flips(baseline, a, b)
    assert [(each.conversation_id, each.strict_success, each.state_match) for each in found] == [
        ("c-002", "lost", "lost"),
        ("c-001", "gained", "gained"),
        ("c-003", None, "lost"),
    ]


def test_turns_stand_side_by_side_and_the_first_that_differs_is_marked(baseline: Baseline) -> None:
    wrong = failed_turn(
        2,
        "argument_mismatch",
        arguments={"name": "Acne"},
        error="No such client.",
        agent_response_text="Sorry.",
    )
    (found,) = flips(
        baseline, [session("c-1", [turn(1), turn(2), turn(3)])], [session("c-1", [turn(1), wrong])]
    )
    assert found.first_differing_turn == 2
    assert [(t.call_differs, t.verdict_differs) for t in found.turns] == [
        (False, False),
        (True, True),
        (True, True),
    ]
    second, third = found.turns[1:]
    assert (second.user_utterance, second.expected_tool) == ("Please do step 2.", "client_search")
    assert second.a is not None and second.b is not None
    assert (second.a.arguments, second.a.success) == ({"name": "Acme"}, True)
    assert second.b.model_dump() == {
        "tool": "client_search",
        "arguments": {"name": "Acne"},
        "error": "No such client.",
        "reply": "Sorry.",
        "verification": "argument_mismatch",
        "success": False,
    }
    assert (third.a is not None, third.b) == (True, None)


def created(made: str, *more: Record) -> list[Record]:
    """A session that makes a client and then works on it and on a row that was there before."""
    return [
        turn(1, result={"client_id": made}),
        turn(
            2, arguments={"ids": [made, SEED]}, user_utterance=f"Change {made}.", result={"client_id": SEED}
        ),
        *more,
    ]


def test_ids_that_a_session_made_itself_are_no_difference(baseline: Baseline) -> None:
    (found,) = flips(
        baseline,
        [session("c-1", created(MADE_A, turn(3)))],
        [session("c-1", created(MADE_B, failed_turn(3)))],
    )
    assert found.first_differing_turn == 3
    assert not found.turns[1].call_differs


@pytest.mark.parametrize(
    "arguments", [{"ids": [SEED, MADE_B]}, {"ids": [MADE_B, MADE_B]}, {"ids": [MADE_B, SEED, 1]}, None]
)
def test_another_row_is_a_difference(baseline: Baseline, arguments: Any) -> None:
    other = created(MADE_B, failed_turn(3))
    other[1]["arguments"] = arguments
    (found,) = flips(baseline, [session("c-1", created(MADE_A, turn(3)))], [session("c-1", other)])
    assert found.first_differing_turn == 2


def test_rows_made_in_one_call_are_told_apart(baseline: Baseline) -> None:
    def made(rows: list[str], used: str, last: Record) -> Record:
        return session("c-1", [turn(1, result=rows), turn(2, arguments={"id": used}), last])

    (found,) = flips(
        baseline,
        [made([MADE_A, MADE_A.replace("a", "c")], MADE_A, turn(3))],
        [made([MADE_B, MADE_B.replace("b", "d")], MADE_B.replace("b", "d"), failed_turn(3))],
    )
    assert found.first_differing_turn == 2


def test_a_row_that_only_one_session_was_shown_is_the_same_row(baseline: Baseline) -> None:
    def finds(result: list[str]) -> Record:
        return turn(1, result=result, arguments={"name": str(len(result))})

    (found,) = flips(
        baseline,
        [session("c-1", [finds([SEED]), turn(2, arguments={"id": SEED})])],
        [session("c-1", [finds([]), failed_turn(2, arguments={"id": SEED})])],
    )
    assert [pair.call_differs for pair in found.turns] == [True, False]


@pytest.mark.parametrize(
    "other",
    [{"verification": "undecided", "success": None}, {"success": False}, {"verification": "tool_error"}],
)
def test_a_verdict_alone_can_be_the_difference(baseline: Baseline, other: Record) -> None:
    a = session("c-1", [turn(1)])
    b = session("c-1", [turn(1, **other)], result={"overall_success": False})
    (found,) = flips(baseline, [a], [b])
    assert (found.turns[0].call_differs, found.turns[0].verdict_differs) == (False, True)


def test_an_end_state_can_flip_with_the_same_turns(baseline: Baseline) -> None:
    (found,) = flips(baseline, [session("c-1")], [session("c-1", result={"state_match": False})])
    assert (found.strict_success, found.state_match, found.first_differing_turn) == (None, "lost", None)


def several(*calls: str) -> Record:
    """A turn that made several calls, of which one decided."""
    made = [
        {"tool_name": name, "arguments": {}, "made": True, "writes": False, "result": None}
        for name in calls
    ]
    return turn(1, calls=made)


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        (several("search", "client_search"), several("lookup", "client_search"), True),
        (several("search", "client_search"), turn(1, calls=[]), True),
        (several("search", "client_search"), several("search", "client_search"), False),
        (turn(1, calls=[]), turn(1, calls=[]), False),
    ],
)
def test_further_calls_of_a_turn_are_a_difference(
    baseline: Baseline, a: Record, b: Record, *, differ: bool
) -> None:
    (found,) = flips(baseline, [session("c-1", [a])], [session("c-1", [b, failed_turn(2)])])
    assert [pair.call_differs for pair in found.turns] == [False, True]
    assert [pair.further_calls_differ for pair in found.turns] == [differ, False]
    assert found.first_differing_turn == (1 if differ else 2)


def test_few_of_many_are_listed_and_all_are_counted(
    baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips_module, "_MOST", 2)
    a = baseline(RUN_A, verdicts([True] * 4 + [False] * 3))
    b = baseline(RUN_B, verdicts([False] * 4 + [True] * 3))
    found = compare_baselines(a, b, resamples=100)
    assert [each.conversation_id for each in found.flips] == ["c-000", "c-001", "c-004", "c-005"]
    assert (found.changes.lost, found.changes.gained, found.changes.total) == (4, 3, 7)
    assert "3 gained, 4 lost" in render_page(found)
    assert "4 of 7 shown" in render_page(found)
    terminal = io.StringIO()
    show(*comparison_blocks(found), console=Console(width=100, file=terminal))
    assert "4 of 7 shown" in terminal.getvalue()
