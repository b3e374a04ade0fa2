"""A session's answers to the SDK, with an in-memory script of the models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.sdk.session import (
    SdkSession,
    plan_steps,
    reviewed_plan,
    storable,
    student_playbook,
)
from crm_assets.llm import (
    Answer,
    BudgetExhausted,
    Caller,
    ChatReply,
    ChatRequest,
    Message,
    ModelError,
    ReplyCheck,
    Spending,
)
from tests.atlas.configs import config


@dataclass
class OneReply:
    """Models that always say the same, or raise it."""

    reply: str | Exception = "{}"
    asked: list[tuple[Caller, ChatRequest, ReplyCheck | None]] = field(default_factory=list)

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        self.asked.append((caller, request, check))
        if isinstance(self.reply, Exception):
            raise self.reply
        return Answer(ChatReply(self.reply), Spending())


def session(models: Any, settings: AtlasConfig | None = None) -> SdkSession:
    return SdkSession(
        conversation=None,  # type: ignore[arg-type]
        truth=Exception(),
        ledger_key="c-1",
        started_at=datetime.now(timezone.utc),
        task="Do it.",
        metadata={},
        config=settings or config(),
        models=models,
        runner=None,  # type: ignore[arg-type]
        judge=None,
        sdk_context=None,
    )


QUESTION = (Message("user", "Well?"),)


@pytest.mark.parametrize(
    ("place", "role", "name", "temperature"),
    [
        ("teacher", "teacher", "openai/teacher", None),
        ("judge", "judge", "openai/small", 0.8),
        ("arbiter", "judge", "openai/large", 0.8),
        ("learner", "learner", "openai/learner", None),
        ("probe", "probe", "openai/teacher", None),
    ],
)
def test_each_place_is_asked_in_its_role(
    place: Any, role: str, name: str, temperature: float | None
) -> None:
    models = OneReply()
    asking = session(models)
    reply = asyncio.run(asking.answer(place, QUESTION, 0.8))
    ((caller, request, check),) = models.asked
    assert (caller.session, caller.role, request.model.name) == ("c-1", role, name)
    assert (request.temperature, request.json_object) == (temperature, True)
    assert reply.content == "{}"
    assert check is not None
    assert check(ChatReply("Sure!")) is not None
    assert check(ChatReply('{"valid": true, "score": 1, "uncertainty": 0.1}')) is None
    beyond = check(ChatReply('{"valid": true, "score": 7, "uncertainty": 0.1}'))
    assert (beyond is not None) is (role == "judge")
    assert asking.asked == {place: 1}


def test_the_sdk_gets_the_object_alone() -> None:
    asking = session(OneReply('Here:\n```json\n{"valid": true}\n```'))
    assert asyncio.run(asking.answer("teacher", QUESTION, 0.0)).content == '{"valid":true}'


def test_why_a_model_could_not_be_had_is_kept() -> None:
    asking = session(OneReply(ModelError("Nobody there.")))
    with pytest.raises(ModelError):
        asyncio.run(asking.answer("learner", QUESTION, 0.0))
    assert asking.failures == {"learner": "Nobody there."}
    assert asking.fatal is None


def test_a_probe_is_not_waited_for_beyond_its_time() -> None:
    class Slow(OneReply):
        async def complete(self, *args: Any, **kwargs: Any) -> Answer:
            await asyncio.sleep(60)
            raise AssertionError

    asking = session(Slow(), config(adaptive_teaching={"probe": {"timeout_seconds": 0.01}}))
    with pytest.raises(ModelError, match="probe did not answer"):
        asyncio.run(asking.answer("probe", QUESTION, 0.0))


def test_a_budget_that_is_spent_ends_the_session_whatever_the_sdk_would_do() -> None:
    went_on: list[str] = []

    async def run() -> SdkSession:
        asking = session(OneReply(BudgetExhausted("Spent.")))

        async def drive() -> None:
            try:
                await asking.answer("judge", QUESTION, 0.2)
            except Exception:  # as the SDK does with judges
                went_on.append("to the learner")

        asking.driver = asyncio.create_task(drive())
        with pytest.raises(asyncio.CancelledError):
            await asking.driver
        return asking

    assert isinstance(asyncio.run(run()).fatal, BudgetExhausted)
    assert went_on == []


BLOCK = ">>> Student Playbook >>>\nSearch first.\n>>> End Student Playbook >>>"


@pytest.mark.parametrize(
    ("prompt", "block"),
    [
        (f"SYSTEM: {BLOCK}\n\nYou are a CRM assistant.\n\nHUMAN: Step", BLOCK),
        ("SYSTEM: You are a CRM assistant.\n\nHUMAN: Step", None),
        (f"SYSTEM: You are a CRM assistant.\n\nHUMAN: {BLOCK}", None),
    ],
)
def test_what_was_learnt_is_read_where_the_sdk_puts_it_and_nowhere_else(
    prompt: str, block: str | None
) -> None:
    assert student_playbook(prompt) == block


def test_a_plan_becomes_steps_one_after_the_other() -> None:
    assert plan_steps("1. Look.\n\n 2) Act.\n- Tell.") == [
        {"id": 1, "description": "Look.", "depends_on": []},
        {"id": 2, "description": "Act.", "depends_on": [1]},
        {"id": 3, "description": "Tell.", "depends_on": [2]},
    ]


def test_the_reviewed_plan_is_taken_out_of_the_step() -> None:
    assert reviewed_plan("Do.\nFollow this reviewed plan while responding:\n1. Look.\n2. Act.") == (
        "1. Look.\n2. Act."
    )
    assert reviewed_plan("Produce the complete answer.") is None


def test_what_postgres_refuses_does_not_reach_the_sdk() -> None:
    assert storable({"reply": "a\0b\ud800"}) == {"reply": "a\ufffdb\ufffd"}
