"""The offline teacher, probe, judge, turn judge and learner."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .talk import CLIENT, DEAL, QUOTE, ask_about, call_for, playbook


def turn(number: int, user: str, tool: str | None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"turn": number, "user": user, "tool": tool, "arguments": arguments or {}, **more}


GOOD = turn(1, f"Delete quote {QUOTE}.", "delete_quote", {"quote_id": QUOTE}, result=True)
WRONG = turn(2, f"Take quote {QUOTE} out of the CRM.", "quote_details", {"quote_id": QUOTE}, result={})


def teach(*turns: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return ask_about("offline/teacher", "teacher", {**facts, "turns": list(turns)})


def test_the_teacher_has_nothing_to_say_of_what_went_well():
    assert teach(GOOD) == {"valid": True, "guidance": None}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (WRONG, "wants to delete quote"),
        (turn(2, f"Delete quote {QUOTE}.", None), "nothing was called"),
        (
            turn(2, f"Delete quote {QUOTE}.", "delete_opportunity", {"opportunity_id": QUOTE}),
            "delete quote",
        ),
        (turn(2, f"Delete quote {QUOTE}.", "delete_quote", {"quote_id": DEAL}), f'lacks "{QUOTE}"'),
        (
            turn(2, f"Update client {CLIENT}: email a@b.example.", "modify_client", {"client_id": CLIENT}),
            "a@b",
        ),
        (
            turn(
                2,
                "Summarize the opportunities.",
                "summarize_opportunities",
                error="Tool 's' needs the argument 'a'.",
            ),
            "needs the argument 'a'",
        ),
    ],
)
def test_the_teacher_names_the_turn_that_went_wrong_and_what_was_wanted(bad, said):
    verdict = teach(GOOD, bad)
    assert verdict["valid"] is False
    assert verdict["guidance"].startswith("Turn 2: ")
    assert said in verdict["guidance"]


def test_a_refusal_that_the_request_had_coming_is_no_fault():
    refused = turn(
        1, f"Delete quote {QUOTE}.", "delete_quote", {"quote_id": QUOTE}, error="Quote not found."
    )
    assert teach(refused)["valid"] is True


def test_the_teachers_word_does_not_depend_on_verdicts():
    assert teach({**WRONG, "success": True}) == teach({**WRONG, "success": False}) == teach(WRONG)


def test_guidance_names_no_tool_that_the_transcript_does_not_hold():
    assert "delete_quote" not in teach(WRONG)["guidance"]


def test_a_plan_in_steps_is_approved_and_an_empty_one_is_not():
    assert ask_about("teacher", "teacher", {"opening": "Hi.", "plan": "1. Look."})["valid"] is True
    refused = ask_about("teacher", "teacher", {"opening": "Hi.", "plan": " "})
    assert refused["valid"] is False
    assert refused["guidance"]


@pytest.mark.parametrize(
    ("scores", "mode"), [([1.0] * 12, "auto"), ([0.9, 0.8, 0.8], "paired"), ([0.2], "coach"), ([], "coach")]
)
def test_the_probe_is_as_sure_as_past_sessions_went_well(scores, mode):
    past = [{"score": score, "execution_mode": "paired"} for score in scores] + [{"score": None}]
    said = ask_about("offline/teacher", "probe", {"task": "x", "past_sessions": past})
    assert said["mode"] == mode
    assert 0.0 <= said["confidence"] <= 1.0


def judge(*turns: dict[str, Any], temperature: float = 0.2, **facts: Any) -> dict[str, Any]:
    document = {**facts, "turns": list(turns)}
    return ask_about("offline/judge", "judge", document, temperature=temperature)


def verdicts(*successes: bool) -> list[dict[str, Any]]:
    return [{**GOOD, "turn": number, "success": success} for number, success in enumerate(successes, 1)]


def test_the_judge_scores_by_the_share_of_turns_that_went_well_and_by_the_end_state():
    assert judge(*verdicts(True, True), state_match=True)["score"] == 1.0
    assert judge(*verdicts(False), state_match=False)["score"] == 0.0
    half = judge(*verdicts(True, False), state_match=True)["score"]
    assert judge(*verdicts(True, False), state_match=False)["score"] < half < 1.0


def test_the_judge_names_the_turns_that_failed():
    said = judge(*verdicts(True, False, False), state_match=False)
    assert "turn 2, 3" in said["rationale"]
    assert sum(principle["weight"] for principle in said["principles"]) == pytest.approx(1.0)


def test_a_judge_without_verdicts_goes_by_looks_and_is_less_sure():
    seen, unseen = judge(*verdicts(True)), judge(GOOD)
    assert seen["score"] == unseen["score"] == 1.0
    assert unseen["uncertainty"] > seen["uncertainty"]
    assert judge(GOOD, WRONG)["score"] < 1.0


def test_a_judge_is_less_sure_of_a_mixed_session():
    mixed = judge(*verdicts(True, False))["uncertainty"]
    assert mixed > judge(*verdicts(True, True))["uncertainty"]
    assert mixed > 0.3  # the arbiter's business


def test_the_temperature_changes_a_score_a_little_and_always_in_the_same_way():
    turns = verdicts(True, True, False)
    scores = [judge(*turns, temperature=temperature)["score"] for temperature in (0.2, 0.5, 0.8)]
    assert scores == [judge(*turns, temperature=temperature)["score"] for temperature in (0.2, 0.5, 0.8)]
    assert len(set(scores)) > 1
    assert max(scores) - min(scores) < 0.15


def test_the_arbiter_weighs_what_the_judges_said():
    alone = judge(*verdicts(True, False))["score"]
    low = judge(*verdicts(True, False), tier1=[{"score": 0.0}, {"score": 0.1}])
    assert low["score"] < alone
    assert low["uncertainty"] <= 0.3


CALL_KEYS = 'Answer with one JSON object with the keys "goal" (0.0–1.0), "process" and "rationale".'
REPLY_KEYS = 'Answer with one JSON object with the keys "score" (0.0–1.0) and "rationale".'


def judge_turn(expected: Any, actual: Any, keys: str) -> dict[str, Any]:
    document = {"expected": expected, "actual": actual}
    return ask_about("offline/judge", "turn judge", document, keys=keys)


def test_the_turn_judge_scores_a_call_by_what_it_shares_with_the_expected_one():
    expected = {"tool": "client_search", "arguments": {"name": "Acme", "status": "Active"}}
    same = judge_turn(expected, {**expected, "result": []}, CALL_KEYS)
    assert (same["goal"], same["process"]) == (1.0, 1.0)
    half = judge_turn(expected, {"tool": "client_search", "arguments": {"name": "Acme"}}, CALL_KEYS)
    assert (half["goal"], half["process"]) == (0.5, 1.0)
    other = judge_turn(expected, {"tool": "add_note", "arguments": {}}, CALL_KEYS)
    assert other["goal"] == 0.0
    assert other["process"] < 1.0
    assert set(same) == {"goal", "process", "rationale"}


def test_the_turn_judge_scores_a_reply_by_the_closest_reference():
    expected = {"replies": ["Nothing here.", "Deleted quote Offer A."]}
    assert judge_turn(expected, {"reply": "Deleted quote Offer A"}, REPLY_KEYS)["score"] == 1.0
    near = judge_turn(expected, {"reply": "I deleted quote Offer A."}, REPLY_KEYS)["score"]
    far = judge_turn(expected, {"reply": "Hello!"}, REPLY_KEYS)["score"]
    assert 1.0 > near > 0.7 > far == 0.0


HANDLES = ["quote_details", "delete_quote", "add_note", "client_search"]


def learn(*turns: dict[str, Any], **facts: Any) -> dict[str, Any]:
    document = {"available_runtime_handles": HANDLES, **facts, "turns": list(turns)}
    return ask_about("offline/learner", "learner", document)


def entries(*turns: dict[str, Any], **facts: Any) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = learn(*turns, **facts)["playbook_entries"]
    return said


FAILED = {**WRONG, "success": False}


def test_the_learner_writes_down_which_tool_the_users_words_ask_for():
    [entry] = entries({**GOOD, "success": True}, FAILED)
    assert entry["action"]["runtime_handle"] == "delete_quote"
    assert entry["action"]["imperative"]
    assert entry["cue"]["type"] == "regex"
    assert re.search(entry["cue"]["pattern"], WRONG["user"], re.IGNORECASE)
    assert QUOTE not in json.dumps(entry)


def test_what_it_writes_mends_the_student():
    [entry] = entries(FAILED)
    assert call_for(WRONG["user"])[0] != "delete_quote"
    action = entry["action"]
    line = f"- When «{entry['cue']['pattern']}»: {action['imperative']} [tool: {action['runtime_handle']}]"
    assert call_for(WRONG["user"], system=playbook(line))[0] == "delete_quote"


def test_the_learner_writes_down_where_a_name_goes_that_was_left_out():
    said = f'Add a note to client {CLIENT}: "Call." Sign it as Dana Cole.'
    row = {"note_id": QUOTE, "content": "Call.", "created_by": None}
    note = turn(1, said, "add_note", {"content": "Call."}, result=row, success=False)
    [entry] = entries(note)
    line = f"- When «{entry['cue']['pattern']}»: {entry['action']['imperative']} [tool: add_note]"
    assert call_for(said, system=playbook(line))[1]["created_by"] == "Dana Cole"


def test_the_learner_keeps_what_went_well_with_guidance():
    guided = {**WRONG, "tool": "delete_quote", "success": True}
    assert entries(guided) == []
    [entry] = entries(guided, guidance="Turn 2: the user wants to delete quote.")
    assert entry["action"]["runtime_handle"] == "delete_quote"


def test_the_learner_writes_nothing_of_turns_that_went_well_or_whose_tool_was_right():
    assert entries({**GOOD, "success": True}) == []
    assert entries({**GOOD, "success": False}) == []  # the reply, perhaps


def test_without_verdicts_the_learner_goes_by_what_came_to_nothing():
    assert entries(WRONG) == []
    assert len(entries({**WRONG, "error": "Quote not found."})) == 1


def test_the_learner_takes_the_expected_tool_where_it_is_shown():
    shown = turn(1, "Frobnicate the thing.", "client_search", success=False)
    assert entries(shown) == []
    [entry] = entries({**shown, "expected": {"tool": "add_note", "arguments": {}}})
    assert entry["action"]["runtime_handle"] == "add_note"


def test_the_learner_takes_an_example_from_a_turn_that_said_much_the_same():
    bad = turn(1, "Frobnicate the blue thing now", "client_search", success=False)
    good = turn(2, "Frobnicate the red thing now", "add_note", success=True)
    [entry] = entries(bad, good)
    assert entry["action"]["runtime_handle"] == "add_note"


def test_the_learner_proposes_no_tool_that_is_not_allowed_and_nothing_that_is_known():
    assert entries(FAILED, available_runtime_handles=["quote_details"]) == []
    known = entries(FAILED)
    assert entries(FAILED, playbook_entries=known) == []


def test_ids_of_entries_are_stable():
    assert entries(FAILED)[0]["id"] == entries(FAILED)[0]["id"]
