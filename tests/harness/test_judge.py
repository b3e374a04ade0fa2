from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from crm_assets.conversations import Conversation
from crm_assets.crm import Sandbox, SandboxPool
from crm_assets.harness import Agent, ConversationRunner, ToolCall
from crm_assets.harness.judge import TurnJudge
from crm_assets.llm import JSON_FENCE, BudgetExhausted, ChatRequest, ModelError, ModelSpec
from crm_assets.records import ConversationResult, JudgeVerdict, TokenUsage, TurnResult
from tests.llm.scripted_models import Say, ScriptedModels

from .build import (
    ACME,
    BETA,
    NEW_CLIENT,
    UNKNOWN,
    Caller,
    Harness,
    answered,
    call,
    conversation,
    refused,
    turn,
)

MODEL = ModelSpec(provider="openai", model="small")
SEARCH = turn("client_search", {"name": "Acme"})
FIND, OTHER = call("client_search", name="Acme"), call("client_search", name="Beta")
GOOD = {"goal": 1.0, "process": 1.0, "rationale": "As good."}
POOR = {"goal": 0.2, "process": 0.5, "rationale": "Another client."}
DOWN = ModelError("The provider is down.")


def judging(calls: Say = GOOD, replies: Say = DOWN) -> ScriptedModels:
    """A model that says one thing of calls and another of replies."""
    return ScriptedModels(
        lambda caller, request: calls if '"goal"' in str(request.messages[-1].content) else replies
    )


def nobody() -> ScriptedModels:
    return ScriptedModels(lambda caller, request: AssertionError("the judge was asked"))


def run(harness: Harness, steps: Conversation, agent: Agent, models: ScriptedModels) -> ConversationResult:
    judge = TurnJudge(models, MODEL, "s-1")
    runner = ConversationRunner(harness.pool)
    return asyncio.run(runner.run(steps, harness.truth(steps), agent=agent, judge=judge))


def only_turn(result: ConversationResult) -> TurnResult:
    [entry] = result.per_turn_results
    return entry


def block(request: ChatRequest) -> dict[str, Any]:
    user = str(request.messages[-1].content)
    document: dict[str, Any] = json.loads(user.split(JSON_FENCE)[1].split("\n```", maxsplit=1)[0])
    return document


# --- calls


@pytest.mark.parametrize(
    ("said", "success", "verification"),
    [
        (GOOD, True, "judged_success"),
        (POOR, False, "judged_failure"),
        ({"goal": 0.8, "process": 0.8}, True, "judged_success"),
        ({"goal": 0.79, "process": 0.8}, False, "judged_failure"),
        ({"goal": 1.0, "process": 0.33}, False, "judged_failure"),
        ({"goal": 1.0, "process": 0.34}, True, "judged_success"),
    ],
)
def test_another_call_that_worked_is_judged_by_goal_and_process(
    harness: Harness, said, success, verification
):
    result = run(harness, conversation(SEARCH), Caller(OTHER), judging(said))
    entry = only_turn(result)
    assert (entry.tool_success, entry.success, entry.verification) == (success, success, verification)
    assert (entry.matches_expected_tool, entry.matches_expected_arguments) == (True, False)
    assert result.overall_success is success
    assert entry.judge is not None
    assert entry.judge.call is not None
    assert entry.judge.call.rationale == said.get("rationale", "")
    assert entry.judge.call.score == pytest.approx(0.7 * said["goal"] + 0.3 * said["process"])


@pytest.mark.parametrize(
    ("step", "made"),
    [
        (SEARCH, FIND),
        (SEARCH, None),
        (SEARCH, call("search_clients", name="Acme")),
        (SEARCH, call("quote_details", quote_id=UNKNOWN)),
        (SEARCH, call("client_search", name="Acme", kwargs=1)),
        (refused("delete_quote", {"quote_id": UNKNOWN}), FIND),
        (refused("delete_quote", {"quote_id": UNKNOWN}), call("delete_quote", quote_id=UNKNOWN)),
        (refused("delete_quote", {"quote_id": UNKNOWN}), call("quote_details", quote_id=UNKNOWN)),
    ],
)
def test_what_comparison_settles_is_not_put_to_the_judge(harness: Harness, step, made):
    judged = only_turn(run(harness, conversation(step), Caller(made), nobody()))
    compared = only_turn(harness.run(conversation(step), Caller(made)))
    # But for the result, whose times differ.
    assert dataclasses.replace(judged, result=None) == dataclasses.replace(compared, result=None)
    assert judged.judge is None


@pytest.mark.parametrize(
    "said",
    [
        DOWN,
        "great",
        "",
        "[]",
        '{"goal": 1',
        {"goal": 1.0},
        {"goal": "high", "process": 1.0},
        {"goal": 7, "process": 1},
        {"goal": 0.7, "process": -1},
    ],
)
def test_a_judge_that_fails_leaves_the_turn_undecided_and_never_wrong(harness: Harness, said):
    result = run(harness, conversation(SEARCH, SEARCH), Caller(OTHER, FIND), judging(said))
    first, second = result.per_turn_results
    assert (first.tool_success, first.success, first.verification) == (None, None, "undecided")
    assert second.success is True
    assert (result.status, result.overall_success, result.failed_at_turn) == ("completed", None, None)
    assert result.reward_signal == 1.0, "of the decided turns"
    assert (result.metadata["successful_turns"], result.metadata["undecided_turns"]) == (1, 1)
    assert first.judge is not None
    assert (first.judge.call, first.judge.reply) == (None, None)
    assert first.judge.error


def test_a_failed_turn_fails_the_conversation_whatever_is_undecided(harness: Harness):
    result = run(harness, conversation(SEARCH, SEARCH), Caller(OTHER, None), judging(DOWN))
    assert (result.overall_success, result.failed_at_turn, result.reward_signal) == (False, 2, 0.0)


def test_nothing_decided_is_no_share_of_0(harness: Harness):
    result = run(harness, conversation(SEARCH), Caller(OTHER), judging(DOWN))
    assert (result.overall_success, result.reward_signal) == (None, None)


def test_segments_and_chains_may_be_undecided(harness: Harness):
    steps = conversation(SEARCH, SEARCH, SEARCH, segment_boundaries=[1, 2, 3], chain_id="c")
    undecided = run(harness, steps, Caller(OTHER, FIND, FIND), judging(DOWN))
    parts = undecided.per_segment_results
    assert [part.success for part in parts] == [None, True, True]
    assert [part.actual_outcome for part in parts] == ["undecided", "success", "success"]
    assert [part.successful_turns for part in parts] == [0, 1, 1]
    assert undecided.chain_success is None
    assert run(harness, steps, Caller(OTHER, None, FIND), judging(DOWN)).chain_success is False
    assert run(harness, steps, Caller(OTHER, FIND, FIND), judging(GOOD)).chain_success is True


# --- replies


def told(text: str = "Found Acme.", **fields: Any) -> Any:
    return conversation(answered(SEARCH, text, **fields))


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (1, (True, "match", True, "exact_match")),
        (0.7, (True, "match", True, "exact_match")),
        (0.69, (False, "mismatch", False, "response_mismatch")),
        (0.0, (False, "mismatch", False, "response_mismatch")),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"requires_judge": True}])
def test_another_reply_is_judged(harness: Harness, score, verdict, fields):
    models = judging(replies={"score": score, "rationale": "So."})
    entry = only_turn(run(harness, told(**fields), Caller((FIND, "It is Acme.")), models))
    assert entry.tool_success is True
    assert (entry.response_success, entry.response_status, entry.success, entry.verification) == verdict
    assert entry.judge is not None
    assert entry.judge.reply is not None
    assert (entry.judge.reply.score, entry.judge.reply.rationale) == (score, "So.")


@pytest.mark.parametrize("reply", ["Found Acme.", None])
def test_a_reply_that_matches_or_is_not_known_is_not_put_to_the_judge(harness: Harness, reply):
    entry = only_turn(run(harness, told(), Caller((FIND, reply)), nobody()))
    assert (entry.success, entry.judge) == (True, None)


def test_a_turn_without_a_reference_has_no_reply_to_judge(harness: Harness):
    entry = only_turn(run(harness, conversation(SEARCH), Caller((FIND, "It is Acme.")), nobody()))
    assert (entry.response_status, entry.judge) == ("not_applicable", None)


def test_silence_is_wrong_without_asking(harness: Harness):
    entry = only_turn(run(harness, told(requires_judge=True), Caller((FIND, " ")), nobody()))
    assert (entry.response_success, entry.success) == (False, False)


@pytest.mark.parametrize(("fields", "score"), [({}, "high"), ({"requires_judge": True}, "high"), ({}, 3)])
def test_a_reply_of_which_the_judge_cannot_say_anything_is_undecided(harness: Harness, fields, score):
    models = judging(replies={"score": score})
    result = run(harness, told(**fields), Caller((FIND, "It is Acme.")), models)
    entry = only_turn(result)
    assert (entry.response_success, entry.response_status) == (None, "unscored")
    assert (entry.tool_success, entry.success, entry.verification) == (True, None, "undecided")
    assert (result.metadata["tool_successes"], result.metadata["responses_scored"]) == (1, 0)


@pytest.mark.parametrize(
    ("calls", "replies", "verdict"),
    [
        (GOOD, {"score": 1}, (True, True, True, "judged_success")),
        (GOOD, {"score": 0}, (True, False, False, "response_mismatch")),
        (GOOD, DOWN, (True, None, None, "undecided")),
        (POOR, {"score": 1}, (False, True, False, "judged_failure")),
        (POOR, {"score": 0}, (False, False, False, "judged_failure")),
        (POOR, DOWN, (False, None, False, "judged_failure")),
        (DOWN, {"score": 1}, (None, True, None, "undecided")),
        (DOWN, {"score": 0}, (None, False, False, "response_mismatch")),
        (DOWN, DOWN, (None, None, None, "undecided")),
    ],
)
def test_a_turn_needs_a_right_call_and_a_reply_not_wrong(harness: Harness, calls, replies, verdict):
    entry = only_turn(run(harness, told(), Caller((OTHER, "It is Beta.")), judging(calls, replies)))
    assert (entry.tool_success, entry.response_success, entry.success, entry.verification) == verdict


def test_a_reply_to_a_refusal_is_judged_too(harness: Harness):
    steps = conversation(answered(refused("delete_quote", {"quote_id": UNKNOWN}), "There is none."))
    agent = Caller((call("delete_quote", quote_id=UNKNOWN), "No such quote."))
    models = judging(replies={"score": 1})
    entry = only_turn(run(harness, steps, agent, models))
    assert (entry.success, entry.verification) == (True, "expected_failure")
    assert "Quote not found" in block(models.requests[0])["actual"]["error"]


# --- what it is asked, and what it costs


def test_a_call_is_shown_with_the_expected_one_and_the_turns_before(harness: Harness):
    models = judging(GOOD)
    steps = conversation(*[SEARCH] * 5)
    run(harness, steps, Caller(*[(FIND, f"reply {number}") for number in range(4)], OTHER), models)
    [(caller, request)] = models.asked
    assert (caller.session, caller.role, request.model, request.temperature) == (
        "s-1",
        "turn_judge",
        MODEL,
        0,
    )
    assert str(request.messages[0].content).startswith("You are the turn judge ")
    shown = block(request)
    assert shown["user"] == "Please use client_search."
    assert shown["expected"] == {"tool": "client_search", "arguments": {"name": "Acme"}}
    actual = shown["actual"]
    assert (actual["tool"], actual["arguments"]) == ("client_search", {"name": "Beta"})
    assert [client["client_id"] for client in actual["result"]] == [BETA]
    assert [entry["reply"] for entry in shown["earlier_turns"]] == ["reply 1", "reply 2", "reply 3"]
    keys = str(request.messages[-1].content).splitlines()[-1]
    assert all(f'"{key}"' in keys for key in ("goal", "process", "rationale"))


def test_a_reply_is_shown_with_every_reference(harness: Harness):
    models = judging(replies={"score": 1})
    run(harness, told(answers=["Found Acme.", "Acme!"]), Caller((FIND, "It is Acme.")), models)
    [request] = models.requests
    shown = block(request)
    assert shown["expected"] == {"replies": ["Found Acme.", "Acme!"]}
    assert shown["actual"]["reply"] == "It is Acme."
    assert [client["client_id"] for client in shown["actual"]["result"]] == [ACME]
    keys = str(request.messages[-1].content).splitlines()[-1]
    assert all(f'"{key}"' in keys for key in ("score", "rationale"))


class _Counting(SandboxPool):
    """Knows how many of its sandboxes are out."""

    out = 0

    def acquire(self) -> Sandbox:
        self.out += 1
        return super().acquire()

    def acquire_idle(self) -> Sandbox | None:
        idle = super().acquire_idle()
        self.out += idle is not None
        return idle

    def release(self, sandbox: Sandbox) -> bool:
        self.out -= 1
        return super().release(sandbox)


def test_turns_are_judged_side_by_side_when_the_sandbox_is_back(sandbox_conninfo: str, harness: Harness):
    out: list[int] = []
    with _Counting(sandbox_conninfo) as pool:

        def say(caller: Any, request: ChatRequest) -> Say:
            out.append(pool.out)
            return GOOD

        models = ScriptedModels(say)
        result = run(
            Harness(pool, harness.store), conversation(*[SEARCH] * 6), Caller(*[OTHER] * 6), models
        )
    assert result.overall_success is True
    assert (models.most_at_once, out) == (6, [0] * 6)


def test_the_judges_tokens_are_counted_under_its_role_failed_ones_included(harness: Harness):
    student = {"student": TokenUsage(3, 1, 4)}
    agent = Caller((OTHER, "It is Beta."), tokens=student)
    both = only_turn(run(harness, told(), agent, judging(GOOD, "none")))
    # One attempt for the call, two for the reply.
    assert both.token_usage == {**student, "turn_judge": TokenUsage(30, 15, 45)}
    down = only_turn(run(harness, told(), Caller((OTHER, "x"), tokens=student), judging(DOWN, DOWN)))
    assert down.token_usage == student
    assert down.judge == JudgeVerdict(error="The provider is down."), "said once"


def test_the_result_says_who_judged(harness: Harness):
    result = run(harness, conversation(SEARCH), Caller(FIND), nobody())
    said = result.metadata["judge"]
    assert (said["model"], said["call_pass"], said["reply_pass"]) == ("openai/small", 0.8, 0.7)
    assert "judge" not in harness.run(conversation(SEARCH), Caller(FIND)).metadata


def test_a_spent_budget_is_no_verdict(harness: Harness):
    result = run(harness, told(), Caller((OTHER, "x")), judging(BudgetExhausted("Spent."), GOOD))
    assert (result.status, result.error_message) == ("not_run", "Spent.")
    assert (result.overall_success, result.per_turn_results) == (None, ())


def test_a_run_has_a_judge_only_if_one_is_named(harness: Harness):
    steps, runner = conversation(SEARCH), ConversationRunner(harness.pool)
    judge = TurnJudge(judging(GOOD), MODEL, "s-1")
    truth = harness.truth(steps)
    assert asyncio.run(runner.run(steps, truth, agent=Caller(OTHER), judge=judge)).overall_success is True
    assert asyncio.run(runner.run(steps, truth, agent=Caller(OTHER))).overall_success is False


def test_what_a_call_changes_counts_for_the_state_whatever_the_judge_says(harness: Harness):
    steps = conversation(turn("create_new_client", NEW_CLIENT))
    other = ToolCall("create_new_client", {**NEW_CLIENT, "name": "Delta"})
    result = run(harness, steps, Caller(other), judging(GOOD))
    assert (result.turns_right, result.state_match, result.overall_success) == (True, False, False)
