"""What a learning key has learnt: pamphlets and playbook entries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Action",
    "Audience",
    "Cue",
    "EntryUsage",
    "LearningState",
    "LearningUpdate",
    "PlaybookEntry",
    "Provenance",
    "RejectedEntry",
    "Rubric",
    "Scope",
]

Audience = Literal["student", "teacher"]


class _Learnt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Cue(_Learnt):
    """When an entry is to be remembered."""

    type: Literal["regex", "keyword", "predicate"]
    pattern: str
    """What a user's turn is matched with."""
    description: str | None = None


class Action(_Learnt):
    """What to do then."""

    imperative: str
    """One sentence, told to the student."""
    runtime_handle: str | None = None
    """The tool it is about."""
    tool_name: str | None = None
    arguments: dict[str, object] | None = None


class Scope(_Learnt):
    """Where it applies."""

    category: Literal["reinforcement", "differentiation"] = "differentiation"
    constraints: str = ""
    applies_when: str | None = None


class Provenance(_Learnt):
    """Where it comes from."""

    created_at: str | None = None
    """ISO 8601, UTC."""
    updated_at: str | None = None
    source_session_id: str | None = None
    """Key of the session that it was first learnt from."""
    lifecycle: Literal["active", "pruned"] = "active"


class Rubric(_Learnt):
    """How good it looks."""

    actionability: float
    generality: float
    hookability: float
    concision: float
    weighted: float
    """By the configuration's `rubric_weights`."""


class EntryUsage(_Learnt):
    """What came of it, session by session (`impact` in the record)."""

    sessions: int = 0
    """Sessions that had it in their prompt."""
    conversations: tuple[str, ...] = ()
    """Different conversations in which its cue came up; kept until there are enough."""
    cue_hits: int = 0
    """User turns that its cue matched."""
    sessions_hit: int = 0
    """Sessions with at least one of them."""
    action_adoptions: int = 0
    """Turns in which the cue came up and its tool was called, and the call succeeded."""
    failed_adoptions: int = 0
    """The same, and the call was refused."""
    reward_sum_hit: float = 0.0
    """Rewards of sessions whose cue came up, summed."""
    rewarded_hit: int = 0
    """How many they are."""
    reward_before: float | None = None
    """Mean reward of the key's sessions before it was learnt; null where there were none."""


class PlaybookEntry(_Learnt):
    """One thing learnt."""

    id: str
    audience: Audience = "student"
    cue: Cue
    action: Action
    expected_effect: str = ""
    scope: Scope = Scope()
    provenance: Provenance = Provenance()
    rubric: Rubric | None = None
    impact: EntryUsage = EntryUsage()


class RejectedEntry(_Learnt):
    """An entry that a gate kept out."""

    id: str | None
    gate: Literal["form", "actionability", "cue", "generality"]
    reason: str
    """One sentence."""


class LearningState(_Learnt):
    """All that one learning key has learnt."""

    student_learning: str | None = None
    """The student's pamphlet."""
    teacher_learning: str | None = None
    """The teacher's pamphlet."""
    entries: tuple[PlaybookEntry, ...] = ()
    """Active ones, in the order in which they were learnt."""
    version: int = 0
    """Counts changes."""
    sessions: int = 0
    """Sessions that it was merged with."""
    reward_sum: float = 0.0
    """Of those with a reward."""
    rewarded: int = 0
    """How many they are."""
    last_evaluation: dict[str, object] | None = None
    """What the last merge accepted, rejected and pruned."""


class LearningUpdate(_Learnt):
    """What one session taught, gates passed."""

    student_pamphlet: str | None = None
    """Null leaves what is there."""
    teacher_pamphlet: str | None = None
    """Null leaves what is there."""
    session_student_learning: str | None = None
    """The session's own note."""
    session_teacher_learning: str | None = None
    """The session's own note."""
    entries: tuple[PlaybookEntry, ...] = ()
    rejected: tuple[RejectedEntry, ...] = ()
    metadata: dict[str, object] = {}
    """What else the learner said; can never overwrite entries."""
