"""The learning state of a learning key: pamphlets and playbook entries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Audience",
    "Cue",
    "EntryUsage",
    "Gate",
    "LearningState",
    "LearningUpdate",
    "PlaybookAction",
    "PlaybookEntry",
    "Provenance",
    "RejectedEntry",
    "Rubric",
    "Scope",
]

Audience = Literal["student", "teacher"]
Gate = Literal["form", "actionability", "cue", "generality"]
"""A check that a proposed entry must pass."""


class _Learnt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Cue(_Learnt):
    """The situation in which an entry applies."""

    type: Literal["regex", "keyword", "predicate"]
    pattern: str
    """Matched with the user's turns."""
    description: str | None = None


class PlaybookAction(_Learnt):
    """The action that an entry recommends."""

    imperative: str
    """One sentence, shown to the student or teacher."""
    runtime_handle: str | None = None
    """The tool to call."""
    tool_name: str | None = None
    arguments: dict[str, object] | None = None


class Scope(_Learnt):
    """The limits of an entry."""

    category: Literal["reinforcement", "differentiation"] = "differentiation"
    constraints: str = ""
    applies_when: str | None = None


class Provenance(_Learnt):
    """The origin of an entry."""

    created_at: str | None = None
    """ISO 8601, UTC."""
    updated_at: str | None = None
    source_session_id: str | None = None
    """Key of the session that first proposed it."""
    lifecycle: Literal["active", "pruned"] = "active"


class Rubric(_Learnt):
    """Scores of an entry, 0–1."""

    actionability: float
    generality: float
    hookability: float
    concision: float
    weighted: float
    """Mean, weighted by `rubric_weights`."""


class EntryUsage(_Learnt):
    """Usage counts of an entry over all sessions (`impact` in the record)."""

    sessions: int = 0
    """Sessions with the entry in their prompt."""
    conversations: tuple[str, ...] = ()
    """IDs of different conversations in which its cue matched; only as many as pruning needs."""
    cue_hits: int = 0
    """User turns that the cue matched."""
    sessions_hit: int = 0
    """Sessions with at least one match."""
    action_adoptions: int = 0
    """Matched turns in which its tool was called and succeeded."""
    failed_adoptions: int = 0
    """Matched turns in which its tool was called and refused."""
    reward_sum_hit: float = 0.0
    """Sum of the rewards of sessions with a match."""
    rewarded_hit: int = 0
    """Number of these rewards."""
    reward_before: float | None = None
    """Mean reward of the key's sessions before the entry was learned; null without any."""


class PlaybookEntry(_Learnt):
    """A learned rule: a cue and an action."""

    id: str
    audience: Audience = "student"
    cue: Cue
    action: PlaybookAction
    expected_effect: str = ""
    scope: Scope = Scope()
    provenance: Provenance = Provenance()
    rubric: Rubric | None = None
    impact: EntryUsage = EntryUsage()


class RejectedEntry(_Learnt):
    """A proposed entry that a gate rejected."""

    id: str | None
    gate: Gate
    reason: str
    """One sentence."""


class LearningState(_Learnt):
    """The pamphlets, entries and counters of one learning key."""

    student_learning: str | None = None
    """The student's pamphlet."""
    teacher_learning: str | None = None
    """The teacher's pamphlet."""
    entries: tuple[PlaybookEntry, ...] = ()
    """Active ones, oldest first."""
    version: int = 0
    """Incremented by each change of pamphlets or entries."""
    sessions: int = 0
    """Number of merged sessions."""
    reward_sum: float = 0.0
    """Sum of the rewards."""
    rewarded: int = 0
    """Number of sessions with a reward."""
    last_evaluation: dict[str, object] | None = None
    """The entries that the last merge accepted, rejected and pruned."""


class LearningUpdate(_Learnt):
    """The learner's reply to one session, with the entries that passed the gates."""

    student_pamphlet: str | None = None
    """Null keeps the current one."""
    teacher_pamphlet: str | None = None
    """Null keeps the current one."""
    session_student_learning: str | None = None
    """A note on this session."""
    session_teacher_learning: str | None = None
    """A note on this session."""
    entries: tuple[PlaybookEntry, ...] = ()
    rejected: tuple[RejectedEntry, ...] = ()
    metadata: dict[str, object] = {}
    """Anything else in the reply; never overwrites entries."""
