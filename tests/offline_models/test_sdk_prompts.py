"""The Atlas SDK's questions, in its own forms."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from crm_assets.llm import Message
from crm_assets.offline_models import answer
from crm_assets.offline_models.requests import OfflineRequest

TURNS = [
    {"turn": 1, "user": "Show me all clients called Acme.", "tool": "client_search", "arguments": {}},
    {"turn": 2, "user": "Delete quote Q.", "tool": "view_quote", "arguments": {}, "success": False},
]
GOOD = [{**turn, "success": True} for turn in TURNS]


def ask(question: Any, system: str = "", *, model: str = "gpt") -> dict[str, Any]:
    text = question if isinstance(question, str) else orjson.dumps(question).decode()
    messages = (*((Message("system", system),) if system else ()), Message("user", text))
    said: dict[str, Any] = orjson.loads(answer(model, OfflineRequest(messages)).content or "")
    return said


def test_its_teacher_looks_at_the_turns_in_the_step() -> None:
    payload = {
        "step": {"id": 1},
        "structured_output": {"content": {}},
        "artifacts": {"hash": "5e", "content": {"turns": TURNS}},
    }
    question = orjson.dumps(payload).decode() + "\nReturn json."
    system = "You are a CRM assistant.\n\nValidate whether the student's execution is acceptable.\n"
    said = ask(question, system)
    assert said["valid"] is False
    assert said["guidance"].startswith("Turn 2:")


def test_its_teacher_lets_a_plan_of_steps_pass() -> None:
    question = orjson.dumps({"task": "t", "plan": {"steps": [{"id": 1}]}, "available_tools": []}).decode()
    system = "You are a CRM assistant.\n\nReview the student's proposed plan for this task.\n"
    assert ask(question + "\nReturn json.", system) == {"valid": True, "guidance": None}


@pytest.mark.parametrize(("turns", "score"), [(GOOD, 1.0), (TURNS[1:], 0.0)])
def test_its_judges_see_the_transcript_in_the_metadata(turns: Any, score: float) -> None:
    metadata = {"run_id": "r", "transcript": {"turns": turns, "state_match": score == 1.0}}
    question = {"task": "t", "plan": {}, "final_answer": "Done.", "session_metadata": metadata}
    assert ask(question, "\nRole: Expert solution evaluator. Apply.")["score"] == score


def test_its_arbiter_goes_by_what_the_judges_said() -> None:
    lines = [
        '{{"sample": 1, "score": 0.4, "principles": [{{"name": "A"}}]}}',
        '{{"sample": 2, "score": 0.8}}',
    ]
    question = "\nRole: Expert session reward arbiter. Resolve.\n\nTier-1 Summaries:\n" + "\n".join(lines)
    assert ask(question + '\n\nProduce:\n{"score": float}')["score"] == pytest.approx(0.6)


def test_its_learner_writes_what_turns_taught() -> None:
    metadata = {"transcript": {"turns": TURNS}}
    evidence = {"steps": [{"guidance": ["Turn 1: say so."]}], "session_metadata": metadata}
    question = {
        "latest_session": {"task": "t", "reward": {"score": 0.5}, "evidence": evidence},
        "available_runtime_handles": ["delete_quote", "client_search"],
    }
    said = ask(question, "\nRole: Atlas learning synthesizer. You MUST respond.")
    assert {entry["action"]["tool_name"] for entry in said["playbook_entries"]} >= {"delete_quote"}
    known = list(said["playbook_entries"])
    again = ask({**question, "current_playbook_entries": known}, "Role: Atlas learning synthesizer.")
    assert again["playbook_entries"] == []


@pytest.mark.parametrize(("score", "mode"), [(1.0, "auto"), (0.2, "coach")])
def test_its_probe_goes_by_the_history_whatever_model_it_is_put_to(score: float, mode: str) -> None:
    history = {"entries": [{"reward": {"score": score}} for _ in range(6)], "count": 6}
    question = {"task": "t", "learning_history": history}
    assert ask(question, "Role: Adaptive execution router.\n", model="offline-teacher")["mode"] == mode
