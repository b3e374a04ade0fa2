"""Selects the offline model that answers a request; each is a pure function of the request.

The model's name selects it, else the prompt's first line; the requests of probes and turn judges are
recognized by their prompts, whatever the model's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import orjson

from crm_assets.llm.messages import ChatReply, ChatRequest
from crm_assets.offline_models.judge import judge_answer, turn_judge_answer
from crm_assets.offline_models.learner import learner_answer
from crm_assets.offline_models.requests import Document, OfflineRequest, usage_of
from crm_assets.offline_models.sdk_prompts import sdk_role
from crm_assets.offline_models.student import student_answer
from crm_assets.offline_models.teacher import probe_answer, teacher_answer
from crm_assets.offline_models.tools import toolbox

__all__ = ["MODELS", "answer", "answer_request"]

MODELS = ("student", "teacher", "judge", "learner", "probe")
"""Names of the models, after `offline/`."""

_Role = Literal["teacher", "judge", "learner", "probe", "turn judge"]
_FIRST_LINE = re.compile(r"\bYou are (?:the|a|an) (turn judge|judge|teacher|learner|probe|student)\b")
_NAME = re.compile("|".join(MODELS))
_ANSWERS: Mapping[_Role, Callable[[OfflineRequest], Document]] = {
    "teacher": teacher_answer,
    "judge": judge_answer,
    "learner": learner_answer,
    "probe": probe_answer,
    "turn judge": turn_judge_answer,
}


def answer(model: str, request: OfflineRequest) -> ChatReply:
    """Return `model`'s reply; equal requests get equal replies.

    Args:
        model: a name that contains one of `MODELS`, with or without a provider. For any other name the
            prompt decides; if it does not either, the student answers.
        request: the request.
    """
    role = _role(model, request)
    if role is None:
        reply, tool_tokens = student_answer(request)
    else:
        reply = ChatReply(orjson.dumps(_ANSWERS[role](request)).decode())
        tool_tokens = toolbox(request.tools).tokens
    return replace(reply, usage=usage_of(request, tool_tokens, reply), cost_usd=0.0)


def _role(model: str, request: OfflineRequest) -> _Role | None:
    """Return the role that is asked; None for the student."""
    line = _FIRST_LINE.search(request.system.partition("\n")[0])
    prompted = line.group(1) if line else sdk_role(request.system, request.last_user)
    if prompted in ("probe", "turn judge"):
        return prompted  # type: ignore[return-value]
    named = _NAME.search(model.rpartition("/")[2].lower())
    name = named.group() if named else prompted
    return None if name in (None, "student") else name  # type: ignore[return-value]


def answer_request(request: ChatRequest) -> ChatReply:
    """Answer a request of the client's to a model `offline/…`."""
    question = OfflineRequest(
        request.messages,
        tuple(tool.document for tool in request.tools),
        request.tool_choice,
        request.effective_temperature or 0.0,
    )
    return answer(request.model.model, question)
