"""The models that come along: pure functions of what they are asked.

Which one answers follows from the model's name, else from the prompt's first line; a probe's and a turn
judge's question is told by its prompt, whichever model it is put to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import orjson

from crm_assets.llm.messages import ChatReply
from crm_assets.offline_models.judge import judge_answer, turn_judge_answer
from crm_assets.offline_models.learner import learner_answer
from crm_assets.offline_models.requests import OfflineRequest, used
from crm_assets.offline_models.sdk_prompts import sdk_part
from crm_assets.offline_models.student import student_answer
from crm_assets.offline_models.teacher import probe_answer, teacher_answer
from crm_assets.offline_models.tools import toolbox

__all__ = ["MODELS", "answer"]

MODELS = ("student", "teacher", "judge", "learner", "probe")
"""What they are called, behind `offline/`."""

_Part = Literal["teacher", "judge", "learner", "probe", "turn judge"]
_FIRST_LINE = re.compile(r"\bYou are (?:the|a|an) (turn judge|judge|teacher|learner|probe|student)\b")
_NAME = re.compile("|".join(MODELS))
_ANSWERS: Mapping[_Part, Callable[[OfflineRequest], dict[str, Any]]] = {
    "teacher": teacher_answer,
    "judge": judge_answer,
    "learner": learner_answer,
    "probe": probe_answer,
    "turn judge": turn_judge_answer,
}


def answer(model: str, request: OfflineRequest) -> ChatReply:
    """What `model` replies; the same question gets the same reply.

    Args:
        model: a name of `MODELS`, or any that holds one, with or without a provider; of another name the
            prompt tells which one is meant, and where it does not either it is the student.
        request: the question.
    """
    part = _part(model, request)
    if part is None:
        reply, tool_tokens = student_answer(request)
    else:
        reply = ChatReply(orjson.dumps(_ANSWERS[part](request)).decode())
        tool_tokens = toolbox(request.tools).tokens
    return replace(reply, usage=used(request, tool_tokens, reply), cost_usd=0.0)


def _part(model: str, request: OfflineRequest) -> _Part | None:
    """Who is asked; None for the student."""
    line = _FIRST_LINE.search(request.system.partition("\n")[0])
    said = line.group(1) if line else sdk_part(request.system, request.last_user)
    if said in ("probe", "turn judge"):
        return said  # type: ignore[return-value]
    named = _NAME.search(model.rpartition("/")[2].lower())
    name = named.group() if named else said
    return None if name in (None, "student") else name  # type: ignore[return-value]
