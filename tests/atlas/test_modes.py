from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crm_assets.atlas.config import AgentConfig, AtlasConfig
from crm_assets.atlas.modes import choose_mode
from crm_assets.atlas.outcomes import ModeDecision, PastSession
from crm_assets.llm import BudgetExhausted, ModelError
from tests.llm.scripted_models import ScriptedModels

from .configs import config, model


def past(number: int = 1, **fields: Any) -> PastSession:
    known = {"execution_mode": "paired", "score": 0.9, "student_note": f"note {number}"}
    return PastSession(**{"teacher_note": None, "completed_at": None, **known, **fields})


def choose(models: ScriptedModels, setting: AtlasConfig | None = None, *, history: int = 1) -> ModeDecision:
    sessions = [past(number) for number in range(1, history + 1)]
    return asyncio.run(choose_mode(models, "s-1", setting or config(), sessions, "Find Acme."))


def says(**reply: Any) -> ScriptedModels:
    return ScriptedModels(lambda caller, request: reply)


def nobody() -> ScriptedModels:
    return ScriptedModels(lambda caller, request: AssertionError("the probe was asked"))


@pytest.mark.parametrize(
    ("sections", "history", "mode", "source"),
    [
        ({"orchestration": {"forced_mode": "auto"}}, 1, "auto", "forced"),
        (
            {"orchestration": {"forced_mode": "coach"}, "adaptive_teaching": {"mode_override": "auto"}},
            1,
            "coach",
            "forced",
        ),
        ({"adaptive_teaching": {"enabled": False, "mode_override": "auto"}}, 1, "paired", "disabled"),
        ({"adaptive_teaching": {"mode_override": "coach"}}, 0, "coach", "override"),
        ({}, 0, "paired", "no_history"),
    ],
)
def test_the_probe_is_asked_only_when_nothing_else_decides(sections, history, mode, source):
    assert choose(nobody(), config(**sections), history=history) == ModeDecision(mode=mode, source=source)


@pytest.mark.parametrize(
    ("confidence", "mode"),
    [
        (1, "auto"), (0.85, "auto"), (0.849, "paired"), (0.65, "paired"), (0.649, "coach"),
        (0.35, "coach"), (0.1, "coach"), (0, "coach"),
    ],
)  # fmt: skip
def test_the_confidence_decides_and_not_the_mode_that_the_probe_would_choose(confidence, mode):
    decision = choose(says(mode="auto", confidence=confidence))
    assert (decision.mode, decision.source, decision.confidence) == (mode, "probe", confidence)
    assert decision.reason == "The probe would choose auto."


@pytest.mark.parametrize(
    ("adaptive", "source"), [({}, "probe"), ({"mode_override": "coach"}, "override")], ids=str
)
def test_an_agent_of_ones_own_is_paired_where_a_student_would_be_coached(adaptive, source):
    built_in = config(adaptive_teaching=adaptive)
    own = AgentConfig.model_validate({"type": "python", "factory": "my_agent:make"})
    setting = built_in.model_copy(update={"agent": own})
    models = says(confidence=0.1)
    assert choose(models, built_in).mode == "coach"
    decision = choose(models, setting)
    assert (decision.mode, decision.source) == ("paired", source)
    assert str(decision.reason).startswith("The agent writes no plan to coach.")


def test_the_thresholds_are_the_configurations():
    thresholds = {"auto": 0.5, "paired": 0.4, "coach": 0.3}
    setting = config(adaptive_teaching={"probe": {"thresholds": thresholds}})
    assert choose(says(confidence=0.5), setting).mode == "auto"


def test_the_probe_is_shown_the_latest_sessions_and_the_task():
    models = says(mode="auto", confidence=0.9)
    choose(models, config(adaptive_teaching={"probe": {"evidence_limit": 2}}), history=3)
    [(caller, request)] = models.asked
    assert (caller.session, caller.role, request.model.model) == ("s-1", "probe", "teacher")
    assert str(request.messages[0].content).splitlines()[0].startswith("You are the probe ")
    shown = models.text()
    assert "Find Acme." in shown
    assert "note 1" in shown
    assert "note 2" in shown
    assert "note 3" not in shown


def test_the_probe_may_have_a_model_of_its_own():
    models = says(confidence=0.9)
    choose(models, config(adaptive_teaching={"probe": {"llm": model("prober")}}))
    assert models.requests[0].model.model == "prober"


@pytest.mark.parametrize(
    "said",
    [
        ModelError("The provider is down."),
        "no idea",
        "[]",
        {"mode": "auto"},
        {"mode": "auto", "confidence": "high"},
        {"mode": "auto", "confidence": None},
        {"mode": "auto", "confidence": True},
        {"mode": "auto", "confidence": 85},
    ],
)
def test_a_probe_that_fails_leaves_the_fallback_mode(said):
    setting = config(adaptive_teaching={"probe": {"fallback_mode": "coach"}})
    decision = choose(ScriptedModels(lambda caller, request: said), setting)
    assert (decision.mode, decision.source, decision.confidence) == ("coach", "probe_failed", None)
    assert decision.reason


def test_a_probe_that_hangs_is_waited_for_only_so_long():
    models = ScriptedModels(lambda caller, request: {"confidence": 1}, delay=lambda request: 30)
    decision = choose(models, config(adaptive_teaching={"probe": {"timeout_seconds": 0.05}}))
    assert (decision.mode, decision.source) == ("paired", "probe_failed")
    assert decision.reason == "The probe did not answer within 0.05 s."
    assert models.running == 0, "the call goes on unattended"


def test_a_spent_budget_is_no_failed_probe():
    with pytest.raises(BudgetExhausted):
        choose(ScriptedModels(lambda caller, request: BudgetExhausted("Spent.")))
