"""What is learnt from sessions, and how it gets into prompts and out again."""

from __future__ import annotations

from crm_assets.atlas.playbook.models import (
    Action,
    Audience,
    Cue,
    EntryUsage,
    LearningState,
    LearningUpdate,
    PlaybookEntry,
    Provenance,
    RejectedEntry,
    Rubric,
    Scope,
)

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
