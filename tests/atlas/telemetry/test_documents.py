"""The forms that others read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from crm_assets.atlas.config import DriftConfig
from crm_assets.atlas.outcomes import ModeDecision
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry import Step, TrajectoryEvent, detect_drift, steps_of, trace_of
from crm_assets.atlas.telemetry.documents import (
    attempt_rows,
    end_metadata,
    plan_document,
    reward_document,
    start_metadata,
    stats_document,
    step_rows,
    token_usage,
)
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.harness import GroundTruthStore
from crm_assets.llm.messages import Usage
from crm_assets.llm.spending import Spending
from crm_assets.records.trace import EventBody, ModeChoice
from tests.harness.build import Caller, Harness, call, conversation, turn

from .build import KEY, LOOK_AGAIN, NO_REWARD, NOTHING_WRONG, RUN, end, learn, reward, start


def test_a_reward_has_one_judge_with_the_samples() -> None:
    document = reward_document(end(reward=reward(escalated=True, escalation_reason="far apart")))
    assert document is not None
    assert (document.score, document.rationale) == (0.75, None)
    (judge,) = document.judges
    assert judge.identifier == "session_reward"
    assert (judge.score, judge.escalated, judge.escalation_reason) == (0.75, True, "far apart")
    assert [sample.temperature for sample in judge.samples] == [0.2, 0.5, 0.8]
    assert set(vars(judge.samples[0])) == {"score", "rationale", "principles", "uncertainty", "temperature"}
    assert document.raw == {
        "score": 0.75,
        "samples": judge.samples,
        "execution_mode": "paired",
        "teacher_intervened": True,
        "focus_prompt": None,
    }
    untouched = reward_document(end(attempts=1))
    assert untouched is not None
    assert untouched.raw is not None
    assert untouched.raw["teacher_intervened"] is False


def test_a_failed_reward_is_no_score_of_0() -> None:
    failed = end(reward=NO_REWARD)
    assert reward_document(failed) is None
    assert stats_document(failed.reward) is None
    assert all("score" not in row["evaluation"]["reward"] for row in step_rows(failed))
    metadata = end_metadata(failed, None)
    assert metadata["reward_status"] == "failed"
    assert "session_reward" not in metadata
    assert "reward_stats" not in metadata


def test_the_metadata_say_who_when_and_how() -> None:
    assert start_metadata(start()) == {
        **start().metadata,
        "run_id": RUN,
        "session_key": start().session_key,
        "learning_key": KEY,
    }
    drift = detect_drift([(0.9, 0.1)] * 6, 0.2, 0.1, DriftConfig())
    probed = ModeDecision(mode="coach", source="probe", confidence=0.4, reason="unsure")
    metadata = end_metadata(
        end(mode=probed, drift=drift, learning_usage={"cue_hits": 2}, metadata={"own": 1}),
        learn(LearningState()),
    )
    assert metadata["execution_mode"] == "coach"
    assert metadata["adaptive_summary"].adaptive_mode == "coach"
    assert metadata["adaptive_summary"].confidence == 0.4
    assert metadata["adaptive_summary"].mode_history == (ModeChoice("coach", 0.4, "unsure"),)
    assert metadata["session_reward"].score == metadata["reward_stats"].score == 0.75
    assert (metadata["drift_alert"], metadata["drift"]["drift_alert"]) == (True, True)
    assert metadata["learning_usage"] == {"cue_hits": 2}
    assert metadata["session_learning_note"] == "Search before you write."
    assert metadata["learning_state"]["student_learning"] == "Search first."
    assert metadata["own"] == 1
    assert "error" not in metadata


def test_tokens_are_counted_together_and_by_role() -> None:
    usage = token_usage(
        {
            "student": Spending(10, 1, Usage(1000, 100, 200, 0), 0.01),
            "teacher": Spending(2, 0, Usage(500, 50), None, unknown_cost_calls=2),
        }
    )
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (1500, 150, 1650)
    assert (usage["calls"], usage["cost_usd"], usage["unknown_cost_calls"]) == (12, 0.01, 2)
    assert usage["by_role"]["student"] == {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "cached_tokens": 200,
        "reasoning_tokens": 0,
        "total_tokens": 1100,
        "calls": 10,
        "failed_calls": 1,
        "unknown_usage_calls": 0,
        "unknown_cost_calls": 0,
        "cost_usd": 0.01,
    }


def test_the_plan_has_a_step_a_turn_each_after_the_one_before() -> None:
    plan = plan_document(end(3))
    assert [(step.id, step.depends_on) for step in plan.steps] == [(1, ()), (2, (1,)), (3, (2,))]
    assert plan.steps[1].tool_params == {"name": "Client 2", "limit": 2}
    assert plan.execution_mode == "stepwise"


@pytest.mark.parametrize(("given", "planned"), [(None, None), ([1], {"arguments": [1]}), ({}, {})])
def test_arguments_that_are_no_object_become_one_in_the_plan(given: Any, planned: Any) -> None:
    step = Step(id=1, description="", tool="t", tool_params=given, trace="", output=None)
    assert plan_document(end(steps=(step,))).steps[0].tool_params == planned
    assert step_rows(end(steps=(step,)))[0]["output"] == ""


def test_each_attempt_keeps_what_the_teacher_said_of_it() -> None:
    rows = attempt_rows(end(1))
    assert [row["attempt"] for row in rows] == [1, 2]
    assert rows[0]["evaluation"]["validation"] == {"valid": False, "guidance": LOOK_AGAIN.guidance}
    assert rows[1]["evaluation"]["validation"] == {"valid": True}
    assert rows[1]["evaluation"]["tool"] == "client_search"


def test_an_event_is_flat() -> None:
    event = TrajectoryEvent("TOOL_END", "client_search", "student", 12.5, {"turn": 1}, {"output": "x"})
    assert event.document() == EventBody(
        "TOOL_END", "client_search", {"turn": 1, "actor": "student"}, 12.5, {"output": "x"}
    )


def test_a_trace_carries_the_sdk_s_keys() -> None:
    trace = trace_of(start(), end())
    assert all(value is not None for value in (trace.task, trace.plan, trace.steps, trace.session_reward))
    assert trace.steps is not None
    assert trace.trajectory_events is not None
    assert trace.steps[0].guidance == end().guidance
    assert trace.steps[1].guidance == ()
    assert trace.steps[1].reward["score"] == 0.75
    assert [event.actor for event in trace.trajectory_events][:2] == ["atlas", "student"]


def test_steps_are_the_turns_of_the_last_run(databases: Databases) -> None:
    asked = conversation(turn("client_search", {"name": "Acme"}), turn("client_search", {"name": "Beta"}))
    first = Caller(call("client_search", name="Nobody"), None)
    second = Caller((call("client_search", name="Acme"), "Found it."), call("client_search", colour="red"))
    with SandboxPool(databases.sandbox, size=1) as pool:
        truths = GroundTruthStore(databases.sandbox, pool)
        harness = Harness(pool, truths)
        results = [harness.run(asked, agent) for agent in (first, second)]
        truths.close()
    steps, attempts = steps_of(results, [LOOK_AGAIN, NOTHING_WRONG])
    assert [(step.id, step.tool, step.attempts) for step in steps] == [
        (1, "client_search", 2),
        (2, "client_search", 2),
    ]
    assert steps[0].description == "Please use client_search."
    assert steps[0].output == "Found it."
    assert orjson.loads(steps[0].trace)["result"][0]["name"] == "Acme"
    assert orjson.loads(steps[1].trace)["error"]
    assert steps[0].metadata["verification"] == "exact_match"
    assert steps[1].metadata["error_kind"] == "validation"
    assert [(tried.step_id, tried.attempt) for tried in attempts] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert attempts[0].evaluation["tool_params"] == {"name": "Nobody"}
    assert attempts[0].validation == LOOK_AGAIN
    assert "Beta" not in f"{steps} {attempts}", "what was expected is not told"
    assert steps_of([], []) == ((), ())
