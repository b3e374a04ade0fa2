"""The reward of a session (RIM): three concurrent judgments, and an arbiter if they disagree.

Rules and constants are the Atlas SDK's, with two exceptions: a judgment whose score or uncertainty is not
from 0 to 1 is not usable, and a session without a usable judgment has no reward, rather than a reward of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import fmean, pstdev
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from crm_assets.atlas.config import AtlasConfig, RewardConfig
from crm_assets.atlas.outcomes import Judgment, Principle, Reward, SampleStats
from crm_assets.atlas.reward_prompts import RewardCase, arbiter_messages, judge_messages
from crm_assets.concurrency import gather_all
from crm_assets.llm import (
    Caller,
    ChatReply,
    ChatRequest,
    MalformedReply,
    Message,
    ModelError,
    Models,
    ModelSpec,
    UnitScore,
    Usage,
)
from crm_assets.llm.json_replies import ask

__all__ = [
    "ARBITER_TEMPERATURE",
    "JUDGE_TEMPERATURES",
    "RewardCase",
    "judge_session",
]

JUDGE_TEMPERATURES = (0.2, 0.5, 0.8)
"""Temperatures of the small model's three calls."""
ARBITER_TEMPERATURE = 0.3
"""Temperature of the large model's call."""

_FEWEST_TO_DISAGREE = 2
_DIGITS = 12  # rounding, so that 0.1 and 0.4 have a deviation of exactly 0.15


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class _PrincipleAnswer(BaseModel):
    name: str
    weight: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    description: str = ""


def _well_formed(value: Any) -> list[_PrincipleAnswer]:
    """Return the well-formed principles; a malformed one does not invalidate the judgment."""
    found = []
    for entry in value if isinstance(value, list) else ():
        with suppress(ValidationError):
            found.append(_PrincipleAnswer.model_validate(entry))
    return found


class _JudgeAnswer(BaseModel):
    score: UnitScore
    uncertainty: UnitScore
    rationale: str = ""
    principles: Annotated[tuple[_PrincipleAnswer, ...], BeforeValidator(_well_formed)] = ()


@dataclass(frozen=True)
class _Judge:
    """A judge or the arbiter."""

    stage: Literal["tier1", "arbiter"]
    model: ModelSpec
    temperature: float


@dataclass(frozen=True)
class _Sample:
    """The result of a judge's call: its judgment, if usable, and its audit entry."""

    judgment: Judgment | None
    entry: dict[str, object]

    @property
    def error(self) -> str:
        return str(self.entry.get("error", ""))


async def judge_session(
    models: Models,
    session: str,
    config: AtlasConfig,
    case: RewardCase,
    *,
    now: Callable[[], datetime] = _utc_now,
) -> Reward:
    """Call the judges, and the arbiter if they disagree; return the reward.

    Args:
        models: the model client.
        session: the session's ID in the ledger.
        config: the two models and the thresholds (`rim`).
        case: the session as shown to the judges.
        now: returns the timestamp of the statistics.

    Raises:
        BudgetExhausted: the run's budget is spent.
    """
    rim, caller = config.rim, Caller(session, "judge")
    question = judge_messages(case, rim.judge_prompt)
    asked = await gather_all(
        _ask(models, caller, _Judge("tier1", rim.small_model, temperature), question)
        for temperature in JUDGE_TEMPERATURES
    )
    samples = small = _judgments(asked)
    reason, escalated = _disagreement(samples, rim), False
    if reason is not None:
        question = arbiter_messages(case, rim.judge_prompt, samples)
        judge = _Judge("arbiter", rim.large_model, ARBITER_TEMPERATURE)
        arbiter = await _ask(models, caller, judge, question)
        asked.append(arbiter)
        if arbiter.judgment is not None:
            samples, escalated = (arbiter.judgment,), True
        else:
            reason += f" The arbiter's call failed, so the judges' scores count: {arbiter.error}"
    return _reward(samples, small, asked, escalated=escalated, reason=reason, at=now())


async def _ask(models: Models, caller: Caller, judge: _Judge, messages: tuple[Message, ...]) -> _Sample:
    entry: dict[str, object] = {
        "stage": judge.stage,
        "model": judge.model.name,
        "temperature": judge.temperature,
        "messages": [message.document() for message in messages],
    }
    request = ChatRequest(judge.model, messages, temperature=judge.temperature)
    try:
        said, answer = await ask(models, caller, request, _JudgeAnswer)
    except MalformedReply as error:
        spent = {"usage": _usage(error.spending.usage)} if error.spending else {}
        return _Sample(None, {**entry, "error": str(error), **spent})
    except ModelError as error:
        return _Sample(None, {**entry, "error": str(error)})
    judgment = Judgment(
        score=said.score,
        rationale=said.rationale,
        principles=tuple(Principle(**principle.model_dump()) for principle in said.principles),
        uncertainty=said.uncertainty,
        temperature=_sent(answer.reply, judge),
    )
    entry["temperature"] = judgment.temperature
    usage = _usage(answer.spending.usage)
    return _Sample(judgment, {**entry, "response": answer.reply.content, "usage": usage})


def _sent(reply: ChatReply, judge: _Judge) -> float | None:
    """Return the temperature as it was sent: models that reason take none."""
    return judge.temperature if reply.sent is None else reply.sent.temperature


def _usage(usage: Usage) -> dict[str, int]:
    """Return the tokens of a judge's call, including retries."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _judgments(asked: Sequence[_Sample]) -> tuple[Judgment, ...]:
    return tuple(sample.judgment for sample in asked if sample.judgment is not None)


def _disagreement(samples: Sequence[Judgment], rim: RewardConfig) -> str | None:
    """Return why the arbiter must decide; None if the judgments stand."""
    if len(samples) < _FEWEST_TO_DISAGREE:
        return None
    spread = round(pstdev(sample.score for sample in samples), _DIGITS)
    doubt = max(sample.uncertainty for sample in samples)
    reasons = []
    if spread > rim.variance_threshold:
        reasons.append(f"The scores' standard deviation {spread:.3g} is above {rim.variance_threshold:g}.")
    if doubt > rim.uncertainty_threshold:
        reasons.append(f"The highest uncertainty {doubt:.3g} is above {rim.uncertainty_threshold:g}.")
    return " ".join(reasons) or None


def _reward(
    samples: tuple[Judgment, ...],
    small: tuple[Judgment, ...],
    asked: Sequence[_Sample],
    *,
    escalated: bool,
    reason: str | None,
    at: datetime,
) -> Reward:
    audit = tuple(sample.entry for sample in asked)
    if not samples:
        return Reward(status="failed", score=None, rationale=None, audit=audit)
    surest = min(samples, key=lambda sample: sample.uncertainty)
    stats = _stats(samples, at)
    return Reward(
        status="scored",
        score=stats.score,
        rationale=surest.rationale,
        principles=surest.principles,
        samples=samples,
        small_judge_scores=tuple(each.score for each in small),
        escalated=escalated,
        escalation_reason=reason,
        stats=stats,
        audit=audit,
    )


def _stats(samples: Sequence[Judgment], at: datetime) -> SampleStats:
    scores = [sample.score for sample in samples]
    uncertainties = [sample.uncertainty for sample in samples]
    mean = fmean(scores)
    return SampleStats(
        score=mean,
        score_mean=mean,
        score_stddev=pstdev(scores),
        sample_count=len(samples),
        uncertainty_mean=fmean(uncertainties),
        uncertainty_stddev=pstdev(uncertainties),
        best_uncertainty=min(uncertainties),
        timestamp=at.isoformat(),
    )
