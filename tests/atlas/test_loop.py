"""One session through the loop: a real sandbox, models in memory."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.playbook import LearningState
from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.llm import BudgetExhausted, ChatRequest, ModelError
from crm_assets.records.trace import SessionTrace
from tests.atlas.configs import config
from tests.atlas.play import Played, Say, Stage, call, context
from tests.atlas.playbook.build import entry
from tests.harness.build import ACME, answered, conversation, turn

TALK = conversation(
    answered(
        turn("client_search", {"name": "Acme"}, user_utterance="Find the client Acme."), "Found Acme."
    ),
    answered(
        turn(
            "add_note",
            {"entity_type": "Client", "entity_id": ACME, "content": "Called."},
            user_utterance='Add the note "Called." to it.',
        ),
        "Noted.",
    ),
    conversation_id="talk",
)
RIGHT = [
    call("client_search", name="Acme"),
    "Found Acme.",
    call("add_note", entity_type="Client", entity_id=ACME, content="Called."),
    "Noted.",
]
WRONG = [call("client_search", name="Beta"), "Found Beta.", "I will not.", "I will not."]
PAST = PastSession(
    execution_mode="paired", score=0.5, student_note="s", teacher_note=None, completed_at="2026-01-01"
)
GOOD = {"score": 0.9, "uncertainty": 0.1, "rationale": "fine", "principles": []}


class InOrder:
    """Says one thing after the other, the last one for ever."""

    def __init__(self, *said: Say) -> None:
        self._said = list(said)

    def __call__(self, request: ChatRequest) -> Say:
        return self._said.pop(0) if len(self._said) > 1 else self._said[0]


def attempts(*runs: list[Any]) -> InOrder:
    return InOrder(*(said for run in runs for said in run))


def paired(**orchestration: Any) -> Any:
    return {"orchestration": {"forced_mode": "paired", **orchestration}}


def valid(**changes: Any) -> dict[str, Any]:
    return {"valid": True, "guidance": None, **changes}


INVALID = {"valid": False, "guidance": "Turn 1: look for Acme."}


def test_a_paired_session_is_worked_on_validated_rewarded_and_learnt_from(stage: Stage):
    played = stage.play(TALK, config(**paired()), {"student": attempts(RIGHT), "judge": GOOD})
    assert [role for role, _ in played.models.asked] == [
        *["student"] * 4,
        "teacher",
        *["judge"] * 3,
        "learner",
    ]
    assert played.finished.success is True
    assert (played.facts["execution_mode"], played.facts["attempts"]) == ("paired", 1)
    assert played.facts["teacher_valid"] is True
    assert played.facts["teacher_intervened"] is False
    assert played.record["session_reward"]["score"] == 0.9
    assert [*played.facts["small_judge_scores"]] == [0.9] * 3
    assert played.record["status"] == "succeeded"
    assert {each.name for each in fields(SessionTrace)} <= played.record.keys()
    [end] = played.store.ended
    assert end.status == "succeeded"
    assert [step.tool for step in end.steps] == ["client_search", "add_note"]
    assert played.store.learnt is not None
    assert played.store.learnt.sessions == 1


def test_nobody_validates_in_mode_auto(stage: Stage):
    played = stage.play(
        TALK, config(orchestration={"forced_mode": "auto"}), {"student": attempts(WRONG), "judge": GOOD}
    )
    assert played.models.of("teacher") == []
    assert played.facts["teacher_valid"] is None
    assert played.facts["attempts"] == 1
    assert played.record["session_reward"]["score"] == 0.9  # judged and learnt from all the same
    assert played.models.of("learner")


def test_the_teacher_reviews_the_plan_in_mode_coach(stage: Stage):
    script = {
        "student": attempts(["1. Search. 2. Note."], RIGHT),
        "teacher": InOrder({"valid": False, "guidance": "Search by name."}, valid()),
        "judge": GOOD,
    }
    played = stage.play(TALK, config(orchestration={"forced_mode": "coach"}), script)
    plan, validation = played.models.texts("teacher")
    assert "1. Search. 2. Note." in plan
    assert "Search by name." in validation  # what had been said of the plan
    first = played.models.of("student")[1].messages[0].content or ""
    assert ">>> Reviewed Plan >>>\n1. Search. 2. Note." in first
    assert ">>> Teacher Guidance >>>\nSearch by name." in first
    assert "1. Search. 2. Note." in played.models.texts("judge")[0]
    assert played.facts["teacher_intervened"] is True
    assert played.facts["attempts"] == 1
    assert played.events[1:3] == ["mode", "plan_review"]


def test_a_plan_that_nobody_could_review_is_worked_on(stage: Stage):
    script = {
        "student": attempts(["A plan."], RIGHT),
        "teacher": InOrder(ModelError("The teacher is away."), valid()),
        "judge": GOOD,
    }
    played = stage.play(TALK, config(orchestration={"forced_mode": "coach"}), script)
    assert played.finished.success is True
    assert ">>> Reviewed Plan >>>\nA plan." in played.models.texts("student")[1].replace("\\n", "\n")
    assert played.facts["teacher_intervened"] is False


def test_a_session_without_a_plan_has_failed_and_it_was_not_the_agent(stage: Stage):
    played = stage.play(
        TALK, config(orchestration={"forced_mode": "coach"}), {"student": ModelError("No student.")}
    )
    assert (played.finished.status, played.finished.success) == ("infrastructure_error", None)
    assert played.store.failed == ["No student."]
    assert played.store.ended == []
    assert played.record["status"] == "failed"
    assert {each.name for each in fields(SessionTrace)} <= played.record.keys()


def test_the_student_runs_again_with_guidance_in_a_fresh_sandbox(stage: Stage):
    script = {
        "student": attempts([*RIGHT[:2], *RIGHT[2:]], RIGHT),
        "teacher": InOrder(INVALID, valid()),
        "judge": GOOD,
    }
    played = stage.play(TALK, config(**paired()), script)
    assert played.facts["attempts"] == 2
    assert played.finished.success is True
    assert played.record["conversation_result"]["state_match"] is True  # the first run's note is gone
    first, second = (played.models.of("student")[number].messages for number in (0, 4))
    assert "Turn 1: look for Acme." not in (first[0].content or "")
    assert ">>> Teacher Guidance >>>\nTurn 1: look for Acme." in (second[0].content or "")
    assert len(second) == 2, "the second run starts from an empty conversation"
    assert (played.facts["teacher_intervened"], played.facts["teacher_valid"]) == (True, True)
    assert "Turn 1: look for Acme." in played.models.texts("teacher")[1]
    [end] = played.store.ended
    assert [(step.step_id, step.attempt) for step in end.attempts] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert end.guidance == ("Turn 1: look for Acme.",)


def test_the_attempt_that_counts_is_the_last_and_the_first_is_told(stage: Stage):
    script = {
        "student": attempts(WRONG[:3], RIGHT),
        "teacher": InOrder(INVALID, valid()),
        "judge": GOOD,
    }
    played = stage.play(TALK, config(**paired()), script)
    assert played.finished.success is True
    assert played.facts["first_attempt_success"] is False


def test_the_last_attempt_is_validated_too(stage: Stage):
    script = {"student": attempts(RIGHT), "teacher": INVALID, "judge": GOOD}
    played = stage.play(TALK, config(**paired()), {**script, "student": attempts(RIGHT, RIGHT)})
    assert played.facts["attempts"] == 2
    assert len(played.models.of("teacher")) == 2
    assert played.facts["teacher_valid"] is False
    [end] = played.store.ended
    assert end.guidance == ("Turn 1: look for Acme.",)  # what nobody acted on was not given


def test_without_retries_the_teacher_looks_all_the_same(stage: Stage):
    played = stage.play(
        TALK,
        config(**paired(max_retries=0)),
        {"student": attempts(RIGHT), "teacher": INVALID, "judge": GOOD},
    )
    assert played.facts["attempts"] == 1
    assert played.facts["teacher_valid"] is False
    assert played.facts["teacher_intervened"] is False
    assert "guidance" in played.record["steps"][0]
    assert played.record["steps"][0]["guidance"] == []


def test_a_retry_needs_something_to_do_otherwise(stage: Stage):
    script = {
        "student": attempts(RIGHT),
        "teacher": {"valid": False, "guidance": " "},
        "judge": GOOD,
    }
    played = stage.play(TALK, config(**paired()), script)
    assert (played.facts["attempts"], played.facts["teacher_valid"]) == (1, False)


@pytest.mark.parametrize("teacher", [ModelError("The teacher is away."), "no JSON at all"])
def test_a_teacher_that_fails_leaves_the_attempt_as_it_is(stage: Stage, teacher: Say):
    script = {"student": attempts(RIGHT), "teacher": teacher, "judge": GOOD}
    played = stage.play(TALK, config(**paired()), script)
    assert played.record["status"] == "succeeded"
    assert played.finished.success is True
    assert (played.facts["teacher_valid"], played.facts["attempts"]) == (None, 1)
    [end] = played.store.ended
    assert end.validation is not None
    assert end.validation.error


@pytest.mark.parametrize("judge", [ModelError("No judge."), '{"score": "high", "uncertainty": 0.1}'])
def test_judges_that_fail_leave_no_reward_and_the_session_succeeded(stage: Stage, judge: Say):
    played = stage.play(TALK, config(**paired()), {"student": attempts(RIGHT), "judge": judge})
    assert played.record["status"] == "succeeded"
    assert played.finished.success is True
    assert played.facts["reward_status"] == "failed"
    assert played.record["session_reward"] is None
    assert played.record["reward_stats"] is None
    assert played.models.of("learner") == []  # nothing to learn from
    assert played.store.learnt is not None
    assert (played.store.learnt.sessions, played.store.learnt.rewarded) == (1, 0)


@pytest.mark.parametrize("learner", [ModelError("No learner."), "[]"])
def test_a_learner_that_fails_leaves_the_session_as_it_is(stage: Stage, learner: Say):
    known = LearningState(student_learning="Known.", entries=(entry(),), version=3)
    played = stage.play(
        TALK,
        config(**paired()),
        {"student": attempts(RIGHT), "judge": GOOD, "learner": learner},
        start_from=context(learning=known),
    )
    assert played.record["status"] == "succeeded"
    assert played.record["session_reward"]["score"] == 0.9
    assert played.facts["learning_error"]
    assert played.facts["entries_learnt"] is None
    learnt = played.store.learnt
    assert learnt is not None
    assert (learnt.student_learning, learnt.version, len(learnt.entries)) == ("Known.", 3, 1)


def test_a_step_timeout_is_a_failure_and_not_the_agents(stage: Stage):
    played = stage.play(
        TALK,
        config(**paired(step_timeout_seconds=0.5)),
        {"student": attempts(RIGHT)},
        seconds=0.3,
    )
    assert (played.finished.status, played.finished.success) == ("infrastructure_error", None)
    assert "longer than 0.5 s" in played.record["conversation_result"]["error_message"]
    assert played.record["status"] == "failed"
    assert played.record["session_reward"] is None
    assert {role for role, _ in played.models.asked} == {"student"}
    [end] = played.store.ended
    assert end.status == "failed"
    assert played.store.learnt is None, "a session that failed teaches nothing"
    assert stage.play(TALK, config(**paired()), {"student": attempts(RIGHT)}).finished.success


def test_what_a_recorded_run_did_not_wait_for_is_a_timeout_again(stage: Stage):
    played = stage.play(
        TALK, config(**paired()), {"student": TimeoutError("The recorded run did not wait.")}
    )
    assert played.finished.status == "infrastructure_error"
    assert "longer than 900 s" in played.record["conversation_result"]["error_message"]


def test_a_ground_truth_that_cannot_be_had_is_not_the_agents_failure(stage: Stage):
    played = stage.play(TALK, config(**paired()), truth=InfrastructureError("No ground truth."))
    assert (played.finished.status, played.finished.success) == ("infrastructure_error", None)
    assert played.models.asked == []
    assert played.store.ended[0].status == "failed"


@pytest.mark.parametrize("role", ["student", "teacher", "judge", "learner", "probe"])
def test_a_spent_budget_ends_the_session_wherever_it_is(stage: Stage, role: str):
    script = {"student": attempts(RIGHT), "judge": GOOD, role: BudgetExhausted("The budget is spent.")}
    sections = paired() if role != "probe" else {}
    with pytest.raises(BudgetExhausted, match="The budget is spent"):
        stage.play(TALK, config(**sections), script, start_from=context(history=(PAST,)))


@pytest.mark.parametrize("role", ["student", "teacher", "judge", "learner"])
def test_a_refused_key_ends_the_run_wherever_it_is(stage: Stage, role: str):
    script = {"student": attempts(RIGHT), "judge": GOOD, role: ConfigError("The key is refused.")}
    with pytest.raises(ConfigError, match="The key is refused"):
        stage.play(TALK, config(**paired()), script)


def test_the_mode_is_the_probes_where_none_is_forced(stage: Stage):
    script = {"student": attempts(RIGHT), "judge": GOOD, "probe": {"mode": "auto", "confidence": 0.9}}
    played = stage.play(TALK, config(), script, start_from=context(history=(PAST,)))
    assert played.facts["execution_mode"] == "auto"
    assert played.record["adaptive_summary"]["source"] == "probe"
    assert stage.play(TALK, config(), script).record["adaptive_summary"]["source"] == "no_history"


# What was learnt, and who is shown it.

KNOWN = LearningState(
    student_learning="Search by name.",
    teacher_learning="Look at arguments.",
    entries=(entry("find", "find", imperative="Call client_search.", handle="client_search"),),
    version=2,
)


def play_known(stage: Stage, **learning: Any) -> Played:
    script = {"student": attempts(RIGHT), "judge": GOOD}
    return stage.play(
        TALK, config(**paired(), learning=learning), script, start_from=context(learning=KNOWN)
    )


def test_what_was_learnt_stands_in_the_prompts_and_is_watched(stage: Stage):
    played = play_known(stage)
    system = played.models.of("student")[0].messages[0].content or ""
    assert system.startswith("You are"), "the part that all sessions share comes first: it is cached"
    assert system.endswith(">>> End Student Playbook >>>")
    assert "Call client_search." in played.models.texts("student")[0]
    assert "Look at arguments." in played.models.texts("teacher")[0]
    learnt = played.store.learnt
    assert learnt is not None
    [watched] = learnt.entries[:1]
    assert (watched.impact.cue_hits, watched.impact.action_adoptions) == (1, 1)
    assert played.record["session_metadata"]["learning_usage"]["cue_hits"] == 1
    assert played.facts["entries_available"] == 1


def test_frozen_uses_and_never_writes(stage: Stage):
    played = play_known(stage, update_enabled=False)
    assert "Call client_search." in played.models.texts("student")[0]
    assert played.models.of("learner") == []
    assert played.store.learnt is None
    assert played.record["session_metadata"]["learning_usage"]["cue_hits"] == 1


def test_off_does_neither(stage: Stage):
    played = play_known(stage, enabled=False)
    assert not any("Playbook" in text for _, request in played.models.asked for text in [str(request)])
    assert played.models.of("learner") == []
    assert played.store.learnt is None
    assert "learning_usage" not in played.record["session_metadata"]
    assert played.facts["entries_available"] == 0


def test_what_is_not_in_the_prompts_has_not_been_tried(stage: Stage):
    played = play_known(stage, apply_to_prompts=False)
    assert "Call client_search." not in "".join(played.models.texts("student"))
    assert "Look at arguments." not in "".join(played.models.texts("teacher"))
    learnt = played.store.learnt
    assert learnt is not None
    assert (learnt.sessions, learnt.entries[0].impact.sessions) == (1, 0)


def test_the_crms_clock_stands_at_the_sessions_beginning(stage: Stage):
    played = stage.play(TALK, config(**paired()), {"student": attempts(RIGHT), "judge": GOOD})
    note = played.record["conversation_result"]["per_turn_results"][1]["result"]
    assert note["created_at"].startswith("2026-01-01T09:30:00")
