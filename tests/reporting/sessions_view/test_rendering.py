"""Sessions as they are printed: what is said, how wide, and nothing that data could smuggle in."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from crm_assets.reporting.document import Block
from crm_assets.reporting.sessions_view import find_session, list_sessions, session_blocks, sessions_blocks
from crm_assets.reporting.terminal import show

from ..conftest import Record, Write, failed_turn, session, turn, unrun

WIDTH = 80


def printed(parts: Iterable[Block]) -> str:
    """What a terminal of eighty columns, with colours, is sent."""
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, color_system=None)
    show(*parts, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(cell_len(line) for line in text.split("\n")) <= WIDTH
    return str(text)


def words(text: str) -> str:
    """The words on one line, whatever the breaks between them."""
    return " ".join(text.split())


def shown(write: Write, record: Record) -> str:
    return words(printed(session_blocks(find_session(write([record]), record["conversation_id"]))))


def event(name: str, data: Record, **metadata: Any) -> Record:
    return {"name": name, "actor": "atlas", "event": {"data": data, "metadata": metadata}}


def test_a_turn_that_went_right(write: Write) -> None:
    said = turn(
        user_utterance="Find Acme.",
        arguments={"name": "Acme", "filters": {"status": "Active"}},
        result=[{"client_id": "c-1", "name": "Acme", "email": None}],
        agent_response_text="Found\nAcme.",
        response_status="match",
        response_success=True,
    )
    text = shown(write, session("c-1", [said]))
    assert "Turn 1 user Find Acme. call client_search name: Acme" in text
    assert 'filters: {"status":"Active"}' in text
    assert "result 1 row client_id: c-1, name: Acme reply Found Acme." in text
    assert "email" not in text
    assert "verdict ✓ Expected call; correct reply." in text
    assert "expected client_search" not in text
    assert "✓ as expected" in text


def test_all_calls_of_a_turn_are_shown(write: Write) -> None:
    made = {"tool_name": "client_search", "arguments": {"name": "Acme"}, "made": True, "writes": False}
    refused = {**made, "tool_name": "fly", "arguments": {}, "error": "There is no tool named 'fly'."}
    dropped = {
        **made,
        "tool_name": "delete_quote",
        "arguments": {"quote_id": "q"},
        "made": False,
        "writes": True,
    }
    text = shown(write, session("c-1", [failed_turn(calls=[made, refused, dropped])]))
    assert "call 1 client_search (made) name: Acme" in text
    assert "call 2 fly (rejected: There is no tool named 'fly'.)" in text
    assert "call 3 delete_quote (not made) quote_id: q" in text


def test_a_turn_that_went_wrong_shows_what_was_expected_and_why(write: Write) -> None:
    wrong = failed_turn(
        verification="argument_mismatch",
        argument_mismatch_reason="Field name: 'Acme' != ''",
        expected_arguments={"name": ""},
        error="Tool 'client_search' refuses that.",
        result=None,
        judge={
            "call": {
                "goal": 0.4,
                "process": 0.4,
                "score": 0.4,
                "success": False,
                "rationale": "Not what was asked.",
            },
            "reply": None,
        },
    )
    difference = {
        "clients": {
            "missing": [{"client_id": "new Client 1", "name": "Beta"}],
            "unexpected": [{"client_id": f"c-{number}"} for number in range(7)],
            "changed": [{"id": "c-9", "fields": {"status": {"expected": "Active", "actual": None}}}],
        }
    }
    text = shown(write, session("c-1", [wrong], result={"state_diff": difference}))
    assert "rejected Tool 'client_search' refuses that." in text
    assert "verdict ✗ Right tool, wrong arguments. Field name: 'Acme' != ''" in text
    assert 'expected client_search name: ""' in text
    assert "judge ✗ call 0.4: Not what was asked." in text
    assert "clients, missing: client_id: new Client 1, name: Beta" in text
    assert "clients, unexpected: client_id: c-4 " in text
    assert "clients: 2 more " in text
    assert "clients c-9: status is null, should be Active" in text


def test_what_the_loop_did(write: Write) -> None:
    judge = {
        "rationale": "Turn 2 was refused.",
        "principles": [{"name": "Accuracy", "weight": 0.6, "description": "Does what is asked."}],
        "samples": [
            {"score": 0.5, "uncertainty": 0.4, "temperature": 0.2, "rationale": "Half of it."},
        ],
        "escalated": True,
        "escalation_reason": "uncertainty 0.4 above 0.3",
    }
    record = session(
        "c-1",
        meta={
            "execution_mode": "coach",
            "attempts": 2,
            "session_reward": {"score": 0.5, "judges": [judge]},
            "token_usage": {"student": {"prompt_tokens": 1200, "completion_tokens": 34, "calls": 5}},
            "cost_usd": {"student": 0.0123},
            "entries_available": 3,
            "review_status": "pending",
            "drift_alert": True,
        },
        trajectory_events=[
            event("mode", {"source": "probe", "confidence": 0.5, "reason": "Unsure."}),
            event("plan_review", {"plan": "Search first.", "approved": False, "guidance": "Mind the ID."}),
            event("validation", {"valid": False, "guidance": "Try again."}, attempt=1),
            event("validation", {"valid": None, "error": "The teacher is gone."}, attempt=2),
            event("learning", {"entries": ["search-1"], "rejected": [{"id": "x", "reasons": ["narrow"]}]}),
        ],
        student_learning="Search before creating.",
    )
    text = shown(write, record)
    for part in (
        "mode coach, probe, confidence 0.5: Unsure.",
        "attempts 2; the turns below are of the last one",
        "run pending for learning (its reward is far from earlier ones); not reviewed by a person",
        "plan Search first. teacher ✗ Mind the ID.",
        "attempt 1 ✗ rejected Try again.",
        "attempt 2 ? no verdict The teacher is gone.",
        "score 0.500 because Turn 2 was refused.",
        "escalated to the large judge: uncertainty 0.4 above 0.3",
        "principle Accuracy (0.6): Does what is asked.",
        "sample 0.500, uncertainty 0.4, temperature 0.2: Half of it.",
        "before 3 playbook entries available accepted search-1",
        'rejected id: x reasons: ["narrow"]',
        "student Search before creating.",
        "student 5 – 1,200 34 $0.0123",
    ):
        assert part in text, part


def test_a_session_that_never_ran_says_why(write: Write) -> None:
    text = shown(write, unrun("c-1", message="The database is gone."))
    assert "session failed because The database is gone." in text
    assert "? every turn correct, ? end state" in text
    assert "no reward" not in text


def test_judges_that_gave_nothing_are_no_reward_of_zero(write: Write) -> None:
    text = shown(write, session("c-1", meta={"reward_status": "failed"}))
    assert "this is not a reward of 0" in text


def test_recorded_verdicts_stand_beside_ours(write: Write) -> None:
    imported = {
        "file": "past.jsonl",
        "sha256": "ab",
        "format": "clbench",
        "model": "gpt-4.1",
        "recorded": {"recorded_overall_success": False},
        "recorded_turns": [
            {
                "turn_id": 1,
                "recorded_success": False,
                "recorded_tool_success": True,
                "recorded_verification": "llm_judge",
                "recorded_judge_score": 0.9,
                "recorded_judge_rationale": "Close enough.",
            }
        ],
    }
    text = shown(write, session("c-1", [turn()], meta={"imported": imported}))
    assert "imported past.jsonl, gpt-4.1; replayed and scored again here" in text
    assert "recorded ✗ every turn correct" in text
    assert "recorded ✗ llm_judge (call ✓, reply ?); judge 0.9: Close enough." in text


def test_nothing_in_the_data_is_taken_for_markup_or_moves_the_cursor(write: Write) -> None:
    evil = "[bold]x[/bold] [link=https://a.b]c[/] \x1b[31mred\x1b[0m \x07:smile: [/nonsense]"
    record = session(
        "c-[red]1",
        [failed_turn(user_utterance=evil, arguments={evil: evil}, agent_response_text=evil, error=evil)],
        meta={"workflow_category": evil, "agent": {"name": evil}},
    )
    path = write([record])
    for text in (
        printed(session_blocks(find_session(path, "c-"))),
        printed(sessions_blocks(path, list_sessions(path, limit=9, failed=False), failed=False)),
    ):
        assert "[bold]x[/bold]" in words(text)
        assert ":smile:" in text
        assert "\x07" not in text
        assert "\x1b[31m" not in text
    assert "c-[red]1" in text


def test_long_texts_are_cut_and_long_words_folded(write: Write) -> None:
    long = turn(result={"text": "y" * 5000}, agent_response_text="z" * 5000, arguments={"a": "q" * 500})
    text = printed(session_blocks(find_session(write([session("w" * 100, [long])]), "w")))
    assert text.count("y") < 600
    assert text.count("z") < 1500
    assert text.count("q") < 400
    assert "…" in text


def test_the_list_shows_the_worst_first_and_says_what_it_leaves_out(write: Write) -> None:
    records = [session(f"right-{number}") for number in range(5)]
    records += [session("wrong-1", [failed_turn()]), unrun("ended-1"), unrun("unknown-1", "not_recorded")]
    path = write(records)
    text = printed(sessions_blocks(path, list_sessions(path, limit=3, failed=False), failed=False))
    assert text.index("wrong-1") < text.index("ended-1") < text.index("unknown-1")
    assert "right-" not in text
    assert "3 of 8 sessions, the worst first; 5 more with --limit." in words(text)
    failed = printed(sessions_blocks(path, list_sessions(path, limit=40, failed=True), failed=True))
    assert "right-" not in failed
    assert "3 of 8 sessions without strict success, the worst first." in words(failed)
    assert "not recorded" in failed
