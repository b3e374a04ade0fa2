from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.outcomes import PlanReview, Validation
from crm_assets.atlas.teacher import review_plan, validate
from crm_assets.atlas.transcript import ExpectedTurn, SessionTranscript, TurnTranscript, read_transcript
from crm_assets.llm import BudgetExhausted, ModelError
from tests.llm.scripted_models import ScriptedModels

from .configs import config

TURN = TurnTranscript(
    turn=1, user="Find Acme.", tool="client_search", arguments={"name": "Acme"}, reply="ok"
)
SEEN = SessionTranscript(turns=(TURN,))


def ask(models: ScriptedModels, setting: AtlasConfig | None = None, **more: Any) -> Validation:
    given = {"pamphlet": None, "guidance_given": None, **more}
    transcript = given.pop("transcript", SEEN)
    return asyncio.run(validate(models, "s-1", setting or config(), transcript, **given))


def review(models: ScriptedModels, pamphlet: str | None = None) -> PlanReview:
    return asyncio.run(
        review_plan(models, "s-1", config(), opening="Find Acme.", plan="I search.", pamphlet=pamphlet)
    )


def says(said: Any) -> ScriptedModels:
    return ScriptedModels(lambda caller, request: said)


@pytest.mark.parametrize(
    ("said", "valid", "guidance"),
    [
        ({"valid": True, "guidance": None}, True, None),
        ({"valid": True}, True, None),
        ({"valid": False, "guidance": "Turn 1: use the ID."}, False, "Turn 1: use the ID."),
        ({"valid": False, "guidance": " "}, False, None),
    ],
)
def test_the_teachers_word_on_an_attempt(said, valid, guidance):
    assert ask(says(said)) == Validation(valid=valid, guidance=guidance)


@pytest.mark.parametrize(
    "said",
    [
        ModelError("The provider is down."),
        "It is fine.",
        "",
        '{"valid": tr',
        {"guidance": "x"},
        {"valid": None},
        {"valid": 0.7},
        {"valid": True, "guidance": ["x"]},
    ],
)
def test_a_teacher_that_cannot_be_had_gives_no_verdict(said):
    found = ask(says(said))
    assert (found.valid, found.guidance) == (None, None)
    assert found.error
    reviewed = review(says(said))
    assert (reviewed.approved, reviewed.guidance, reviewed.plan) == (None, None, "I search.")
    assert reviewed.error


def test_the_teacher_is_shown_the_attempt_and_what_it_said_before():
    models = says({"valid": True})
    ask(models, guidance_given="Look for the client first.")
    [(caller, request)] = models.asked
    assert (caller.session, caller.role, request.model.model) == ("s-1", "teacher", "teacher")
    system, user = request.messages
    assert str(system.content).startswith("You are the teacher ")
    shown = read_transcript(str(user.content))
    assert shown == (SEEN, {"guidance_given": "Look for the client first."})
    assert '"valid"' in str(user.content).splitlines()[-1]


def test_what_was_learnt_stands_behind_the_prompt_and_the_configuration_may_replace_it():
    models = says({"valid": True})
    ask(models, pamphlet=">>> Teacher Playbook >>>")
    ask(models, config(teacher={"validation_prompt": "Be strict."}), pamphlet=">>> Teacher Playbook >>>")
    review(models, ">>> Teacher Playbook >>>")
    ours, theirs, plans = (str(request.messages[0].content) for request in models.requests)
    assert ours.startswith("You are the teacher ")
    assert ours.endswith("\n\n>>> Teacher Playbook >>>")
    assert theirs == "Be strict.\n\n>>> Teacher Playbook >>>"
    assert plans.startswith("You are the teacher ")
    assert plans.endswith("\n\n>>> Teacher Playbook >>>")


@pytest.mark.parametrize(
    "transcript",
    [
        SEEN.model_copy(update={"state_match": False}),
        SEEN.model_copy(update={"turns": (TURN.model_copy(update={"success": True}),)}),
        SEEN.model_copy(
            update={
                "turns": (
                    TURN.model_copy(
                        update={"expected": ExpectedTurn(tool="x", arguments={}, succeeds=True, reply=None)}
                    ),
                )
            }
        ),
    ],
)
def test_a_teacher_is_never_shown_verdicts_or_answers(transcript):
    models = says({"valid": True})
    with pytest.raises(ValueError, match="The teacher must not see verdicts"):
        ask(models, transcript=transcript)
    assert models.asked == []


def test_a_plan_is_reviewed_before_anything_is_done():
    models = says({"valid": False, "guidance": "Ask for the ID."})
    assert review(models) == PlanReview(plan="I search.", approved=False, guidance="Ask for the ID.")
    assert [caller.role for caller, _ in models.asked] == ["teacher"]
    assert "Find Acme." in models.text()
    assert "I search." in models.text()


def test_a_spent_budget_is_no_verdict_of_the_teacher():
    for run in (ask, review):
        with pytest.raises(BudgetExhausted):
            run(says(BudgetExhausted("Spent.")))
