"""Choose the mode of a session: auto, paired or coach."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from pydantic import BaseModel

from crm_assets.atlas.choices import ExecutionMode
from crm_assets.atlas.config import AtlasConfig, ProbeConfig, ProbeThresholds
from crm_assets.atlas.outcomes import ModeDecision, PastSession
from crm_assets.llm import Caller, ChatRequest, Message, ModelError, Models, UnitScore, json_block
from crm_assets.llm.json_replies import ask

__all__ = ["choose_mode", "probe_messages"]

_PROMPT = """\
You are the probe of a student and teacher who do CRM work together. Say how sure it is that the student \
will do the next task right on its own, from how its past sessions of this kind went.
- auto: it works alone, nobody looks. For tasks of which the past sessions leave no doubt.
- paired: the teacher looks at the finished work.
- coach: the teacher also looks at the plan first. For tasks that went wrong, or of which little is known.
The confidence decides; the mode is what you would choose."""

_KEYS = """\
The past sessions stand latest first; their scores are the judges' (0.0–1.0, missing where there is none).
Answer with one JSON object with the keys "mode" ("auto", "paired" or "coach") and "confidence" (0.0–1.0).\
"""


class _ProbeAnswer(BaseModel):
    mode: str | None = None
    confidence: UnitScore


async def choose_mode(
    models: Models, session: str, config: AtlasConfig, history: Sequence[PastSession], task: str
) -> ModeDecision:
    """Choose the mode of a session: forced, by configuration, or by the capability probe.

    An agent of the user's own writes no plan, so there is nothing to coach: it is paired instead.

    Args:
        models: the model client.
        session: the session's ID in the ledger.
        config: the forced mode, or the probe's model and thresholds.
        history: the learning key's past sessions, latest first.
        task: the task in words.

    Raises:
        BudgetExhausted: the run's budget is spent.
    """
    decision = await _decide(models, session, config, history, task)
    if decision.mode == "coach" and config.agent.type != "crm_harness":
        reason = f"The agent writes no plan to coach. {decision.reason or ''}".strip()
        return decision.model_copy(update={"mode": "paired", "reason": reason})
    return decision


async def _decide(
    models: Models, session: str, config: AtlasConfig, history: Sequence[PastSession], task: str
) -> ModeDecision:
    adaptive = config.adaptive_teaching
    if config.orchestration.forced_mode is not None:
        return ModeDecision(mode=config.orchestration.forced_mode, source="forced")
    if not adaptive.enabled:
        return ModeDecision(mode="paired", source="disabled")
    if adaptive.mode_override is not None:
        return ModeDecision(mode=adaptive.mode_override, source="override")
    if not history:
        return ModeDecision(mode="paired", source="no_history")
    probe = adaptive.probe
    request = ChatRequest(
        probe.llm or config.teacher.llm, probe_messages(history[: probe.evidence_limit], task)
    )
    return await _probe(models, Caller(session, "probe"), probe, request)


async def _probe(models: Models, caller: Caller, probe: ProbeConfig, request: ChatRequest) -> ModeDecision:
    try:
        with anyio.fail_after(probe.timeout_seconds):
            said, _ = await ask(models, caller, request, _ProbeAnswer)
    except TimeoutError:
        return _failed(probe, f"The probe did not answer within {probe.timeout_seconds:g} s.")
    except ModelError as error:
        return _failed(probe, str(error))
    return ModeDecision(
        mode=_by_confidence(said.confidence, probe.thresholds),
        source="probe",
        confidence=said.confidence,
        reason=f"The probe would choose {said.mode}." if said.mode else None,
    )


def _failed(probe: ProbeConfig, reason: str) -> ModeDecision:
    return ModeDecision(mode=probe.fallback_mode, source="probe_failed", reason=reason)


def _by_confidence(confidence: float, thresholds: ProbeThresholds) -> ExecutionMode:
    """Return the least supervised mode that the confidence reaches; coach below all thresholds."""
    if confidence >= thresholds.auto:
        return "auto"
    return "paired" if confidence >= thresholds.paired else "coach"


def probe_messages(history: Sequence[PastSession], task: str) -> tuple[Message, ...]:
    """Return the messages to the probe: past sessions, latest first, and the task in words."""
    evidence = [past.model_dump(exclude_none=True) for past in history]
    user = f"{json_block({'task': task, 'past_sessions': evidence})}\n\n{_KEYS}"
    return Message("system", _PROMPT), Message("user", user)
