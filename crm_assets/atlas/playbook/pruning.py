"""Prune entries whose use shows no benefit."""

from __future__ import annotations

from collections.abc import Iterable

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.playbook.learning_state import EntryUsage, PlaybookEntry

__all__ = ["ENOUGH_CONVERSATIONS", "prune", "pruning_reason", "reward_delta"]

ENOUGH_CONVERSATIONS = 2
"""Different conversations that an entry must match to count as transferable."""

_HITS_FOR_HARM = 5
_HITS_FOR_NO_USE = 10
_ADOPTED = 0.5


def prune(
    entries: Iterable[PlaybookEntry], config: PruningConfig
) -> tuple[tuple[PlaybookEntry, ...], dict[str, str]]:
    """Return the entries to keep, and the reason for pruning each of the others, by ID."""
    kept = []
    gone = {}
    for entry in entries:
        reason = pruning_reason(entry, config)
        if reason is None:
            kept.append(entry)
        else:
            gone[entry.id] = reason
    return tuple(kept), gone


def pruning_reason(entry: PlaybookEntry, config: PruningConfig) -> str | None:
    """Return why an entry is pruned, in one sentence; None if it stays.

    An entry stays for at least `min_sessions` sessions. A rule that cannot be applied (matches of a
    predicate are unknown, no session had a reward) prunes nothing.
    """
    usage = entry.impact
    if usage.sessions < config.min_sessions:
        return None
    if entry.cue.type != "predicate":
        rate = usage.sessions_hit / usage.sessions
        if rate < config.min_cue_hit_rate:
            return f"Its cue matched in {rate:.0%} of {usage.sessions} sessions."
        served = len(usage.conversations)
        if served < ENOUGH_CONVERSATIONS and usage.sessions >= config.min_transfer_sessions:
            return f"Its cue matched in fewer than {ENOUGH_CONVERSATIONS} conversations."
    return _reward_reason(usage, config)


def _reward_reason(usage: EntryUsage, config: PruningConfig) -> str | None:
    delta = reward_delta(usage)
    if delta is None:
        return None
    if delta < -config.min_reward_delta and usage.cue_hits >= _HITS_FOR_HARM:
        return f"Rewards were {-delta:.3f} lower where its cue matched than before it was learned."
    followed = (usage.action_adoptions + usage.failed_adoptions) / max(1, usage.cue_hits)
    if delta < config.min_reward_delta and followed > _ADOPTED and usage.cue_hits >= _HITS_FOR_NO_USE:
        return f"It was followed in {followed:.0%} of its turns, but rewards changed by only {delta:+.3f}."
    return None


def reward_delta(usage: EntryUsage) -> float | None:
    """Return the mean reward of sessions with a match minus the mean before the entry was learned.

    None if either is unknown.
    """
    if not usage.rewarded_hit or usage.reward_before is None:
        return None
    return usage.reward_sum_hit / usage.rewarded_hit - usage.reward_before
