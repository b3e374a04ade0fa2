"""Merge the results of a session into the learning state of its key."""

from __future__ import annotations

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.playbook.learning_state import (
    EntryUsage,
    LearningState,
    LearningUpdate,
    PlaybookEntry,
    Provenance,
)
from crm_assets.atlas.playbook.pamphlet import by_merit
from crm_assets.atlas.playbook.pruning import ENOUGH_CONVERSATIONS, prune
from crm_assets.atlas.playbook.usage import EntryCounts, UsageReport

__all__ = ["MOST_ENTRIES", "merge"]

MOST_ENTRIES = 40
"""Maximum number of entries of a learning key; beyond it the lowest scored are pruned."""

_DIGITS = 9
"""Digits of reward sums, so that they do not depend on the order of sessions."""


def merge(
    state: LearningState,
    update: LearningUpdate | None,
    usage: UsageReport | None,
    *,
    session: str,
    conversation: str,
    reward: float | None,
    now: str,
    pruning: PruningConfig,
) -> LearningState:
    """Return `state` with a session's learning update and usage counts. Pure.

    `state` may be newer than the one that the session started from: entries that other sessions added
    meanwhile stay, and entries that they pruned stay pruned.

    Args:
        state: the key's current state.
        update: the session's learning update; None without one.
        usage: counts for the entries in its prompts; None if usage is not tracked.
        session: the session's key.
        conversation: the conversation's ID.
        reward: 0–1; None for a session without a reward, which is not a reward of 0.
        now: time of the merge, ISO 8601, UTC.
        pruning: when an entry that shows no benefit is removed.
    """
    reward_sum = round(state.reward_sum + (reward or 0.0), _DIGITS)
    rewarded = state.rewarded + (reward is not None)
    entries = tuple(_watched(entry, usage, conversation, reward) for entry in state.entries)
    accepted = []
    if update is not None:
        fresh = EntryUsage(reward_before=round(reward_sum / rewarded, _DIGITS) if rewarded else None)
        for entry in update.entries:
            entries, name = _with(entries, entry, fresh, session, now)
            accepted.append(name)
    entries, gone = prune(entries, pruning)
    entries, surplus = _best(entries)
    pruned = {**gone, **surplus}
    merged = state.model_copy(
        update={
            "student_learning": (update.student_pamphlet if update else None) or state.student_learning,
            "teacher_learning": (update.teacher_pamphlet if update else None) or state.teacher_learning,
            "entries": entries,
            "sessions": state.sessions + 1,
            "reward_sum": reward_sum,
            "rewarded": rewarded,
            "last_evaluation": _evaluation(accepted, update, pruned, session, now),
        }
    )
    changed = _shown(merged) != _shown(state)
    return merged.model_copy(update={"version": state.version + changed})


def _watched(
    entry: PlaybookEntry, usage: UsageReport | None, conversation: str, reward: float | None
) -> PlaybookEntry:
    counts = usage.entries.get(entry.id) if usage else None
    if counts is None:
        return entry
    return entry.model_copy(update={"impact": _added(entry.impact, counts, conversation, reward)})


def _added(before: EntryUsage, counts: EntryCounts, conversation: str, reward: float | None) -> EntryUsage:
    hit = counts.cue_hits > 0
    conversations = before.conversations
    if hit and conversation not in conversations and len(conversations) < ENOUGH_CONVERSATIONS:
        conversations = (*conversations, conversation)
    rewarded = hit and reward is not None
    return before.model_copy(
        update={
            "sessions": before.sessions + 1,
            "conversations": conversations,
            "cue_hits": before.cue_hits + counts.cue_hits,
            "sessions_hit": before.sessions_hit + hit,
            "action_adoptions": before.action_adoptions + counts.action_adoptions,
            "failed_adoptions": before.failed_adoptions + counts.failed_adoptions,
            "reward_sum_hit": round(before.reward_sum_hit + (reward or 0.0) * rewarded, _DIGITS),
            "rewarded_hit": before.rewarded_hit + rewarded,
        }
    )


def _with(
    entries: tuple[PlaybookEntry, ...], entry: PlaybookEntry, fresh: EntryUsage, session: str, now: str
) -> tuple[tuple[PlaybookEntry, ...], str]:
    """Return `entries` with `entry`, and its ID there.

    It replaces the entry with the same cue and tool, or else the one with the same ID; otherwise it is
    appended.
    """
    known = next((old for old in entries if _meaning(old) == _meaning(entry)), None)
    known = known or next((old for old in entries if old.id == entry.id), None)
    if known is None:
        provenance = Provenance(created_at=now, updated_at=now, source_session_id=session)
        return (*entries, entry.model_copy(update={"provenance": provenance, "impact": fresh})), entry.id
    renewed = entry.model_copy(
        update={
            "id": known.id,
            "provenance": known.provenance.model_copy(update={"updated_at": now}),
            "impact": known.impact,
        }
    )
    return tuple(renewed if old is known else old for old in entries), known.id


def _meaning(entry: PlaybookEntry) -> tuple[str, ...]:
    pattern = entry.cue.pattern if entry.cue.type == "regex" else entry.cue.pattern.casefold()
    return entry.audience, entry.cue.type, pattern, entry.action.runtime_handle or ""


def _best(entries: tuple[PlaybookEntry, ...]) -> tuple[tuple[PlaybookEntry, ...], dict[str, str]]:
    surplus = {entry.id for entry in by_merit(entries)[MOST_ENTRIES:]}
    kept = tuple(entry for entry in entries if entry.id not in surplus)
    reason = f"{MOST_ENTRIES} entries have higher scores."
    return kept, {entry.id: reason for entry in entries if entry.id in surplus}


def _evaluation(
    accepted: list[str], update: LearningUpdate | None, pruned: dict[str, str], session: str, now: str
) -> dict[str, object]:
    return {
        "accepted": list(dict.fromkeys(accepted)),
        "rejected": [entry.model_dump(mode="json") for entry in update.rejected] if update else [],
        "pruned": [{"id": name, "reason": reason} for name, reason in pruned.items()],
        "session": session,
        "at": now,
    }


def _shown(state: LearningState) -> tuple[object, ...]:
    """Return what prompts show of a state: a changed counter is not a new version."""
    entries = tuple(
        (entry.id, entry.audience, entry.cue, entry.action, entry.expected_effect, entry.scope)
        for entry in state.entries
    )
    return state.student_learning, state.teacher_learning, entries
