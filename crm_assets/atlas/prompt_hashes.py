"""Hashes of the built-in prompts, which are part of a run's identity.

A prompt is hashed as it is sent for a fixed session, so the hash depends on its text and form, not on the
code that builds it.
"""

from __future__ import annotations

import hashlib
from functools import cache

import orjson

from crm_assets.atlas.config import LearningConfig
from crm_assets.atlas.learning import LearningCase, learner_messages
from crm_assets.atlas.modes import probe_messages
from crm_assets.atlas.outcomes import Judgment, PastSession, Principle, Reward
from crm_assets.atlas.playbook import Cue, LearningState, PlaybookAction, PlaybookEntry, render_playbook
from crm_assets.atlas.reward_prompts import RewardCase, arbiter_messages, judge_messages
from crm_assets.atlas.teacher import plan_messages, validation_messages
from crm_assets.atlas.transcript import ExpectedTurn, SessionTranscript, TurnTranscript
from crm_assets.llm import OFFLINE_PROVIDER, Message, ModelSpec

__all__ = ["prompt_hashes"]

_DIGITS = 12

_RECORDED = {
    "bb1f4133e213": "cfcadcb0538d",
    "733f4544f144": "084b021d5096",
    "6b9e741a4c11": "d06e58cef0b1",
    "40250274f53c": "7d9f2200ec86",
    "12b7c8756699": "de7ec234a12e",
}
"""Hashes that earlier versions, which hashed modules, recorded for the same prompts, so that a comparison
with their baselines reports no change."""

_TURN = TurnTranscript(
    turn=1,
    user="Find Acme.",
    tool="client_search",
    arguments={"name": "Acme"},
    result=[],
    error="None found.",
    reply="There is no Acme.",
    success=True,
    expected=ExpectedTurn(tool="client_search", arguments={}, succeeds=True, reply="None."),
)
_TRANSCRIPT = SessionTranscript(turns=(_TURN,), state_match=True)
_PAST = PastSession(
    execution_mode="auto", score=1.0, student_note="Good.", teacher_note="Good.", completed_at="2026-01-01"
)
_JUDGMENT = Judgment(
    score=1.0,
    rationale="Good.",
    principles=(Principle(name="Accuracy", weight=1.0, description="Right."),),
    uncertainty=0.0,
    temperature=0.2,
)
_STATE = LearningState(
    student_learning="Search first.",
    teacher_learning="Check IDs.",
    entries=(
        PlaybookEntry(
            id="search",
            cue=Cue(type="keyword", pattern="find"),
            action=PlaybookAction(imperative="Search.", runtime_handle="client_search"),
        ),
    ),
)
_REWARD_CASE = RewardCase(
    task="Find Acme.",
    plan="Search.",
    transcript=_TRANSCRIPT,
    final_answer="There is no Acme.",
    mode="coach",
    teacher_intervened=True,
    focus_prompt="Look at names.",
    session_metadata={"tags": []},
)
_LEARNING_CASE = LearningCase(
    transcript=_TRANSCRIPT,
    reward=Reward(status="scored", score=1.0, rationale="Good."),
    state=_STATE,
    history=(_PAST,),
    mode="coach",
    guidance="Search.",
    now="2026-01-01T00:00:00Z",
    tools={"client_search": "Find clients."},
)


@cache
def prompt_hashes() -> dict[str, str]:
    """Return the first 12 hex digits of the SHA-256 of each built-in prompt, by role."""
    learning = LearningConfig(llm=ModelSpec(provider=OFFLINE_PROVIDER, model="learner"))
    guided = validation_messages(None, _TRANSCRIPT, pamphlet="Check IDs.", guidance_given="Search.")
    prompts = {
        "probe": _text(probe_messages((_PAST,), "Find Acme.")),
        "teacher": _text(guided + plan_messages("Find Acme.", "Search.", "Check IDs.")),
        "judge": _text(
            judge_messages(_REWARD_CASE, None) + arbiter_messages(_REWARD_CASE, None, (_JUDGMENT,))
        ),
        "learner": _text(learner_messages(_LEARNING_CASE, learning, ("client_search",))),
        "pamphlet": f"{render_playbook(_STATE, 'student')}\n{render_playbook(_STATE, 'teacher')}",
    }
    hashes = {role: hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] for role, text in prompts.items()}
    return {role: _RECORDED.get(sha256, sha256) for role, sha256 in hashes.items()}


def _text(messages: tuple[Message, ...]) -> str:
    return orjson.dumps([message.document() for message in messages]).decode()
