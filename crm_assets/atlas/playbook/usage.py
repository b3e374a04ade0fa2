"""Where entries came up in a session, and whether they were followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from crm_assets.atlas.playbook.cues import cue_matches
from crm_assets.atlas.playbook.learning_state import LearningState, PlaybookEntry
from crm_assets.atlas.playbook.pamphlet import LONGEST_BLOCK, shown_entries

__all__ = ["EntryCounts", "TurnFacts", "UsageReport", "track_usage"]


@dataclass(frozen=True)
class TurnFacts:
    """What a turn was, as far as usage goes."""

    user: str
    """What the user said."""
    tool: str | None
    """What the student called."""
    error: str | None
    """The tool's refusal."""


@dataclass(frozen=True)
class EntryCounts:
    """What came of one entry in one session."""

    cue_hits: int = 0
    """Turns in which its cue came up."""
    action_adoptions: int = 0
    """Of these, those in which its tool was called, and did it."""
    failed_adoptions: int = 0
    """The same, and the tool refused."""


@dataclass(frozen=True)
class UsageReport:
    """What came of the entries that a session had in its prompts."""

    entries: Mapping[str, EntryCounts]
    """By ID; those whose cue did not come up are there, too."""

    def document(self) -> dict[str, object]:
        """The record of it: sums, and the entries whose cue came up."""
        counts = self.entries.values()
        return {
            "entries_shown": len(self.entries),
            "cue_hits": sum(entry.cue_hits for entry in counts),
            "action_adoptions": sum(entry.action_adoptions for entry in counts),
            "failed_adoptions": sum(entry.failed_adoptions for entry in counts),
            "entries": {name: asdict(entry) for name, entry in self.entries.items() if entry.cue_hits},
        }


def track_usage(
    state: LearningState, turns: Sequence[TurnFacts], *, limit: int = LONGEST_BLOCK
) -> UsageReport:
    """Match the cues of the entries that prompts had room for with what the user said.

    Args:
        state: what the session started from.
        turns: its turns, of the attempt that counts.
        limit: the room that prompts had, see `render_playbook`.
    """
    shown = (*shown_entries(state, "student", limit=limit), *shown_entries(state, "teacher", limit=limit))
    return UsageReport({entry.id: _counts(entry, turns) for entry in shown})


def _counts(entry: PlaybookEntry, turns: Sequence[TurnFacts]) -> EntryCounts:
    hits = [turn for turn in turns if cue_matches(entry.cue, turn.user)]
    handle = entry.action.runtime_handle
    followed = [turn for turn in hits if handle is not None and turn.tool == handle]
    refused = sum(turn.error is not None for turn in followed)
    return EntryCounts(len(hits), len(followed) - refused, refused)
