"""The playbook: learned entries, their gates, usage and pruning, and the block in the prompts."""

from __future__ import annotations

from crm_assets.atlas.playbook.cues import cue_matches
from crm_assets.atlas.playbook.gates import check_entry, one_line
from crm_assets.atlas.playbook.learning_state import (
    Audience,
    Cue,
    EntryUsage,
    LearningState,
    LearningUpdate,
    PlaybookAction,
    PlaybookEntry,
    Provenance,
    RejectedEntry,
    Rubric,
    Scope,
)
from crm_assets.atlas.playbook.lesson import Lesson
from crm_assets.atlas.playbook.merge import MOST_ENTRIES, merge
from crm_assets.atlas.playbook.pamphlet import LONGEST_BLOCK, render_playbook, shown_entries
from crm_assets.atlas.playbook.playbook import (
    SHARED,
    Playbook,
    RunPlaybook,
    registry_key,
    split_registry_key,
)
from crm_assets.atlas.playbook.pruning import reward_delta
from crm_assets.atlas.playbook.usage import EntryCounts, TurnFacts, UsageReport, track_usage

__all__ = [
    "LONGEST_BLOCK",
    "MOST_ENTRIES",
    "SHARED",
    "Audience",
    "Cue",
    "EntryCounts",
    "EntryUsage",
    "LearningState",
    "LearningUpdate",
    "Lesson",
    "Playbook",
    "PlaybookAction",
    "PlaybookEntry",
    "Provenance",
    "RejectedEntry",
    "Rubric",
    "RunPlaybook",
    "Scope",
    "TurnFacts",
    "UsageReport",
    "check_entry",
    "cue_matches",
    "merge",
    "one_line",
    "registry_key",
    "render_playbook",
    "reward_delta",
    "shown_entries",
    "split_registry_key",
    "track_usage",
]
