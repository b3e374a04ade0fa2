from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.outcomes import Principle, Reward
from crm_assets.atlas.rewards import RewardCase, judge_session
from crm_assets.atlas.transcript import SessionTranscript, TurnTranscript, read_transcript
from crm_assets.llm import BudgetExhausted, ChatRequest, ModelError
from tests.llm.scripted_models import ScriptedModels

from .configs import config

NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
TURN = TurnTranscript(turn=1, user="Find Acme.", tool="client_search", arguments={}, success=True)
CASE = RewardCase(
    task="Serve the user.",
    plan="I search.",
    transcript=SessionTranscript(turns=(TURN,), state_match=True),
    final_answer="Found it.",
    mode="paired",
    teacher_intervened=True,
    focus_prompt="Look at IDs.",
    session_metadata={"run_id": "r-1"},
)


def said(score: Any, uncertainty: Any = 0.1, **more: Any) -> dict[str, Any]:
    principles = [{"name": "Accuracy", "weight": 1.0, "description": f"scored {score}"}]
    words = {"principles": principles, "rationale": f"scored {score}"}
    return {**words, "score": score, "uncertainty": uncertainty, **more}


def judges(*small: Any, large: Any = None) -> ScriptedModels:
    """Small judges in the order of their temperatures, and a large one; the hottest is the fastest."""
    by_temperature = dict(zip((0.2, 0.5, 0.8), small, strict=True))

    def script(caller: Any, request: ChatRequest) -> Any:
        if request.model.model == "small":
            return by_temperature[request.temperature]
        assert large is not None, "the arbiter was asked"
        return large

    return ScriptedModels(script, delay=lambda request: 0.01 - (request.temperature or 0) / 100)


def judge(models: ScriptedModels, setting: AtlasConfig | None = None, case: RewardCase = CASE) -> Reward:
    return asyncio.run(judge_session(models, "s-1", setting or config(), case, now=lambda: NOW))


def scores(reward: Reward) -> list[float]:
    return [sample.score for sample in reward.samples]


def stages(reward: Reward) -> list[tuple[str, float, bool]]:
    return [(entry["stage"], entry["temperature"], "error" in entry) for entry in reward.audit]


def test_three_judges_at_once_and_their_mean():
    models = judges(said(0.7, 0.2), said(0.8, 0.1), said(0.9, 0.3))
    reward = judge(models)
    assert (reward.status, reward.score, reward.escalated) == ("scored", pytest.approx(0.8), False)
    assert scores(reward) == [0.7, 0.8, 0.9], "in the order of temperatures, whoever was first"
    assert [sample.temperature for sample in reward.samples] == [0.2, 0.5, 0.8]
    assert reward.rationale == "scored 0.8", "of the least uncertain"
    assert reward.principles == (Principle(name="Accuracy", weight=1.0, description="scored 0.8"),)
    assert stages(reward) == [("tier1", 0.2, False), ("tier1", 0.5, False), ("tier1", 0.8, False)]
    assert models.most_at_once == 3
    assert reward.escalation_reason is None


def test_the_statistics_are_of_the_population_of_judgements():
    stats = judge(judges(said(0.6, 0.1), said(0.8, 0.2), said(0.7, 0.3))).stats
    assert stats is not None
    assert stats.model_dump() == {
        "score": pytest.approx(0.7),
        "score_mean": pytest.approx(0.7),
        "score_stddev": pytest.approx((0.02 / 3) ** 0.5),
        "sample_count": 3,
        "uncertainty_mean": pytest.approx(0.2),
        "uncertainty_stddev": pytest.approx((0.02 / 3) ** 0.5),
        "best_uncertainty": 0.1,
        "timestamp": "2025-01-02T03:04:05+00:00",
    }


@pytest.mark.parametrize(
    ("small", "why"),
    [
        ((said(0.1), said(0.4), "none"), None),  # 0.15 from their mean: not above
        ((said(0.1), said(0.401), "none"), "standard deviation 0.15"),
        ((said(0.5, 0.3), said(0.5, 0.3), said(0.5, 0.3)), None),
        ((said(0.5, 0.3), said(0.5, 0.301), said(0.5, 0.3)), "uncertainty 0.301"),
        ((said(0.0, 1.0), "none", "none"), None),  # one alone cannot disagree
        ((said(0.0), said(1.0), ModelError("Down.")), "standard deviation 0.5"),
    ],
)
def test_the_arbiter_decides_when_the_judges_disagree_or_are_unsure(small, why):
    reward = judge(judges(*small, large=said(0.4, 0.05) if why else None))
    assert reward.escalated is (why is not None)
    if why:
        assert (scores(reward), reward.score, reward.rationale) == ([0.4], 0.4, "scored 0.4")
        usable = tuple(each["score"] for each in small if isinstance(each, dict))
        assert reward.small_judge_scores == usable, "those that the arbiter overruled"
        assert why in str(reward.escalation_reason)
        assert stages(reward)[-1] == ("arbiter", 0.3, False)
        assert reward.audit[-1]["model"] == "openai/large"
        assert reward.stats is not None
        assert (reward.stats.sample_count, reward.stats.score_stddev) == (1, 0.0)


def test_the_thresholds_are_the_configurations():
    setting = config(rim={"variance_threshold": 0.6, "uncertainty_threshold": 1.0})
    assert judge(judges(said(0.0, 1.0), said(1.0), said(1.0)), setting).escalated is False


@pytest.mark.parametrize("large", [ModelError("Down."), "none", said("high")])
def test_an_arbiter_that_cannot_be_had_leaves_the_judges_word(large):
    reward = judge(judges(said(0.0), said(1.0), said(0.5), large=large))
    assert (reward.status, reward.score, reward.escalated) == ("scored", 0.5, False)
    assert scores(reward) == [0.0, 1.0, 0.5]
    assert "The arbiter's call failed" in str(reward.escalation_reason)
    assert stages(reward)[-1] == ("arbiter", 0.3, True)


BAD = ["", "[]", "I liked it.", '{"score": 0.5', said("high"), said("0.5"), said(True), said(None),
       said(7), said(2, 0.1), said(-0.5), said(0.5, 3), said(0.5, -1),
       said(0.5, "low"), {"score": 0.5}, {"uncertainty": 0.5}, '{"score": NaN, "uncertainty": 0}',
       said(0.5, rationale=7)]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_judgement_is_asked_for_again_and_then_left_out(bad):
    models = judges(said(0.6), bad, said(0.8))
    reward = judge(models)
    assert (reward.status, scores(reward), reward.score) == ("scored", [0.6, 0.8], pytest.approx(0.7))
    assert len(models.asked) == 4
    broken = reward.audit[1]
    assert broken["error"]
    assert "response" not in broken
    assert broken["usage"]["total_tokens"] == 30, "both attempts were paid for"


@pytest.mark.parametrize("bad", ["none", ModelError("Down.")])
def test_without_any_judgement_there_is_no_reward_and_no_score_of_0(bad):
    reward = judge(judges(bad, bad, bad))
    assert (reward.status, reward.score, reward.stats, reward.samples) == ("failed", None, None, ())
    assert [entry["error"] for entry in reward.audit] == [reward.audit[0]["error"]] * 3


def test_principles_of_another_form_are_left_out_and_the_judgement_kept():
    odd = [7, {"name": "Speed"}, {"name": 3, "weight": 1}, {"name": "Care", "weight": 0.4, "extra": 1}]
    reward = judge(judges(*[said(0.5, principles=odd)] * 3))
    assert reward.principles == (Principle(name="Care", weight=0.4, description=""),)
    assert judge(judges(*[said(0.5, principles="many")] * 3)).principles == ()


def test_judges_are_shown_the_session_and_asked_on_its_account():
    models = judges(said(0.0), said(1.0), said(1.0), large=said(0.5))
    judge(models)
    assert {(caller.session, caller.role) for caller, _ in models.asked} == {("s-1", "judge")}
    small, large = models.requests[0], models.requests[-1]
    assert str(small.messages[0].content).startswith("You are the judge ")
    assert str(large.messages[0].content).startswith("You are the judge of last resort")
    for request in (small, large):
        shown = read_transcript(str(request.messages[1].content))
        assert shown is not None
        transcript, facts = shown
        tier1 = facts.pop("tier1", None)
        assert transcript == CASE.transcript
        assert facts == {
            "task": "Serve the user.",
            "execution_mode": "paired",
            "teacher_intervened": True,
            "focus_prompt": "Look at IDs.",
            "plan": "I search.",
            "final_answer": "Found it.",
            "session_metadata": {"run_id": "r-1"},
        }
        assert (tier1 is None) is (request is small)
    assert [sample["score"] for sample in tier1 or ()] == [0.0, 1.0, 1.0]


def test_the_configuration_may_replace_what_judges_are_told():
    models = judges(said(0.0), said(1.0), said(1.0), large=said(0.5))
    judge(models, config(rim={"judge_prompt": "Be kind."}))
    assert models.requests[0].messages[0].content == "Be kind."
    assert str(models.requests[-1].messages[0].content).endswith("\n\nBe kind.")


def test_every_question_and_answer_is_in_the_audit():
    models = judges(said(0.5), said(0.5), ModelError("Down."))
    first, _, last = judge(models).audit
    assert first["model"] == "openai/small"
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert '"score": 0.5' in first["response"]
    assert first["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert last["error"] == "Down."
    assert last["messages"] == first["messages"]


def test_a_spent_budget_is_no_failed_reward_and_leaves_no_call_behind():
    def script(caller: Any, request: ChatRequest) -> Any:
        return BudgetExhausted("Spent.") if request.temperature == 0.2 else said(0.5)

    slow: Callable[[ChatRequest], float] = lambda request: 0 if request.temperature == 0.2 else 0.02  # noqa: E731
    models = ScriptedModels(script, delay=slow)

    async def run() -> int:
        with pytest.raises(BudgetExhausted):
            await judge_session(models, "s-1", config(), CASE, now=lambda: NOW)
        return models.running

    assert asyncio.run(run()) == 0
    with pytest.raises(BudgetExhausted):
        judge(judges(said(0.0), said(1.0), said(1.0), large=BudgetExhausted("Spent.")))
