"""Count the cue matches and adoptions of entries in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from crm_assets.atlas.playbook.cues import cue_matches
from crm_assets.atlas.playbook.learning_state import LearningState, PlaybookEntry
from crm_assets.atlas.playbook.pamphlet import LONGEST_BLOCK, shown_entries

__all__ = ["EntryCounts", "TurnFacts", "UsageReport", "track_usage"]


@dataclass(frozen=True)
class TurnFacts:
    """The parts of a turn that usage depends on."""

    user: str
    """The user's text."""
    called: Mapping[str, bool]
    """Success of a call, by the tool that the student called."""


@dataclass(frozen=True)
class EntryCounts:
    """Usage counts of one entry in one session."""

    cue_hits: int = 0
    """Turns that its cue matched."""
    action_adoptions: int = 0
    """Matched turns in which its tool was called and succeeded."""
    failed_adoptions: int = 0
    """Matched turns in which its tool was called and refused."""


@dataclass(frozen=True)
class UsageReport:
    """Usage counts of the entries in a session's prompts."""

    entries: Mapping[str, EntryCounts]
    """By ID; includes entries without a match."""

    def document(self) -> dict[str, object]:
        """Return its JSON form: sums, and the entries with a match."""
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
    """Match the cues of the entries shown in the prompts with the user's turns.

    Args:
        state: the state that the session started from.
        turns: the turns of the last attempt.
        limit: maximum characters of the block in the prompts, see `render_playbook`.
    """
    shown = (*shown_entries(state, "student", limit=limit), *shown_entries(state, "teacher", limit=limit))
    return UsageReport({entry.id: _counts(entry, turns) for entry in shown})


def _counts(entry: PlaybookEntry, turns: Sequence[TurnFacts]) -> EntryCounts:
    hits = [turn for turn in turns if cue_matches(entry.cue, turn.user)]
    handle = entry.action.runtime_handle
    followed = [turn.called[handle] for turn in hits if handle is not None and handle in turn.called]
    adopted = sum(followed)
    return EntryCounts(len(hits), adopted, len(followed) - adopted)
