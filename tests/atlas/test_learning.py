from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.learning import LearningCase, LearningOutcome, learn
from crm_assets.atlas.outcomes import PastSession, Reward
from crm_assets.atlas.playbook import LearningState, merge, render_playbook
from crm_assets.atlas.transcript import SessionTranscript, TurnTranscript, read_transcript
from crm_assets.llm import BudgetExhausted, ModelError
from tests.llm.scripted_models import ScriptedModels

from .configs import config
from .playbook.build import entry, raw

TOOLS = {
    "clone_opportunity": "Copy an opportunity.",
    "client_search": "Find clients.",
    "modify_client": "Change a client.",
}
NOW = "2031-01-01T00:00:00.000+00:00"
TURN = TurnTranscript(
    turn=1, user="Clone it.", tool="client_search", arguments={}, error="No.", success=False
)
STATE = LearningState(
    student_learning="Known to students.", entries=(entry("known", "copy", cue_hits=3, sessions=4),)
)


def case(**changes: Any) -> LearningCase:
    given: dict[str, Any] = {
        "transcript": SessionTranscript(turns=(TURN,), state_match=False),
        "reward": Reward(
            status="scored", score=0.25, rationale="Turn 1 failed.", audit=({"secret": "audit"},)
        ),
        "state": STATE,
        "history": [
            PastSession(
                execution_mode="paired",
                score=0.1 * number,
                student_note=f"note {number}",
                teacher_note=None,
                completed_at=None,
            )
            for number in range(4)
        ],
        "mode": "paired",
        "guidance": "Use the other tool.",
        "now": NOW,
        "tools": TOOLS,
    }
    return LearningCase(**{**given, **changes})


def ask(said: Any, setting: AtlasConfig | None = None, **changes: Any) -> tuple[LearningOutcome, Any]:
    models = ScriptedModels(lambda caller, request: said)
    return asyncio.run(learn(models, "s-9", setting or config(), case(**changes))), models


def test_the_learner_is_shown_the_session_and_what_is_known():
    setting = config(learning={"history_limit": 2})
    _, models = ask({}, setting)
    ((caller, request),) = models.asked
    assert (caller.session, caller.role) == ("s-9", "learner")
    assert request.model.name == "openai/learner" and request.json_object
    system, user = request.messages
    assert system.content.startswith("You are the learner")
    shown = read_transcript(user.content)
    assert shown is not None
    transcript, facts = shown
    assert transcript == case().transcript
    assert facts["reward"] == {"status": "scored", "score": 0.25, "rationale": "Turn 1 failed."}
    assert facts["available_runtime_handles"] == list(TOOLS) and facts["tools"] == TOOLS
    assert facts["student_pamphlet"] == "Known to students." and facts["teacher_pamphlet"] is None
    assert [past["student_note"] for past in facts["history"]] == ["note 0", "note 1"]
    assert (facts["execution_mode"], facts["guidance"]) == ("paired", "Use the other tool.")
    (known,) = facts["playbook_entries"]
    assert (known["id"], known["impact"]["cue_hits"], known["impact"]["sessions"]) == ("known", 3, 4)
    assert "secret" not in models.text()


def test_configured_tools_and_text_take_the_place_of_the_usual_ones():
    setting = config(
        learning={
            "schema": {"allowed_runtime_handles": ["client_search"], "cue_types": ["keyword"]},
            "prompts": {"synthesizer": "You are the learner, briefly."},
        }
    )
    outcome, models = ask({"playbook_entries": [raw()]}, setting)
    system, user = models.requests[0].messages
    assert system.content == "You are the learner, briefly."
    shown = read_transcript(user.content)
    assert shown is not None
    assert shown[1]["available_runtime_handles"] == ["client_search"]
    assert shown[1]["tools"] == {"client_search": "Find clients."}
    assert outcome.update is not None
    assert [one.gate for one in outcome.update.rejected] == ["actionability"]


def test_what_passes_the_gates_is_learnt_and_what_does_not_says_why():
    outcome, _ = ask(
        {
            "student_pamphlet": "Read first.\n\n Then act.\x00",
            "teacher_pamphlet": " ",
            "session_student_learning": ["Missed a copy.", "Was polite."],
            "session_teacher_learning": None,
            "playbook_entries": [raw(), raw(id="bad", expected_effect="one ticket"), "nonsense"],
            "metadata": {"playbook_entries": [raw(id="smuggled")], "mood": "good"},
            "playbook_version": 99,
        }
    )
    update = outcome.update
    assert update is not None and outcome.error is None
    assert (update.student_pamphlet, update.teacher_pamphlet) == ("Read first.\nThen act.�", None)
    assert (update.session_student_learning, update.session_teacher_learning) == (
        "Missed a copy.\nWas polite.",
        None,
    )
    (learnt,) = update.entries
    assert learnt.rubric is not None
    assert (learnt.provenance.source_session_id, learnt.provenance.created_at) == ("s-9", NOW)
    assert [one.gate for one in update.rejected] == ["generality", "form"]
    assert update.metadata["mood"] == "good"
    state = merge(
        STATE,
        update,
        None,
        session="s-9",
        conversation="c",
        reward=0.25,
        now=NOW,
        pruning=config().learning.pruning_config,
    )
    assert [one.id for one in state.entries] == ["known", learnt.id]
    block = render_playbook(state, "student")
    assert block is not None and "clone, duplicate" in block and "Read first." in block


def test_ids_that_learners_make_up_cannot_overwrite_each_others_entries():
    update = ask({"playbook_entries": [raw(id="known"), raw(id="entry_1"), raw(id=["x"])]})[0].update
    assert update is not None
    assert update.entries[0].id == "known"
    assert update.entries[1].id == update.entries[2].id != "entry_1"


@pytest.mark.parametrize("entries", [None, []])
def test_nothing_learnt_is_an_update_without_entries(entries: Any):
    update = ask({"playbook_entries": entries, "metadata": [1]})[0].update
    assert update is not None
    assert (update.entries, update.rejected, update.metadata) == ((), (), {})
    assert update.student_pamphlet is None


def test_a_single_entry_without_its_list_is_one():
    update = ask({"playbook_entries": raw()})[0].update
    assert update is not None and len(update.entries) == 1


def test_a_flood_is_cut():
    update = ask(
        {
            "student_pamphlet": "word " * 2_000,
            "session_student_learning": "word " * 2_000,
            "playbook_entries": [raw(cue={"pattern": f"cue{number}"}) for number in range(25)],
            "metadata": {"x": "y" * 10_000},
        }
    )[0].update
    assert update is not None
    assert len(update.entries) == 20
    assert "5 entries beyond" in update.rejected[-1].reason
    assert (
        len(update.student_pamphlet or "") <= 2_000 and len(update.session_student_learning or "") <= 1_000
    )
    assert (update.student_pamphlet or "").endswith("word…")
    assert len(str(update.metadata)) < 5_000


@pytest.mark.parametrize(
    "said",
    [
        "I learnt nothing.",
        "",
        '{"student_pamphlet": "x", "playbook_en',
        [raw()],
        {"student_pamphlet": 7},
        {"playbook_entries": "many"},
        ModelError("The provider is down."),
    ],
)
def test_a_learner_that_cannot_be_used_is_told_and_harms_nothing(said: Any):
    outcome, _ = ask(said)
    assert outcome.update is None
    assert outcome.error


def test_a_spent_budget_is_the_runs_affair():
    with pytest.raises(BudgetExhausted):
        ask(BudgetExhausted("spent"))
