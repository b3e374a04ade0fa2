"""Which entries go again because using them shows no good."""

from __future__ import annotations

from collections.abc import Iterable

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.playbook.learning_state import EntryUsage, PlaybookEntry

__all__ = ["ENOUGH_CONVERSATIONS", "prune", "pruning_reason", "reward_delta"]

ENOUGH_CONVERSATIONS = 2
"""Different conversations that an entry must have served to count as transferable."""

_HITS_FOR_HARM = 5
_HITS_FOR_NO_USE = 10
_ADOPTED = 0.5


def prune(
    entries: Iterable[PlaybookEntry], config: PruningConfig
) -> tuple[tuple[PlaybookEntry, ...], dict[str, str]]:
    """The entries that stay, and why each of the others goes, by ID."""
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
    """Why an entry goes, in one sentence; None where it stays.

    Nothing goes before it was watched for `min_sessions` sessions. Where a rule cannot be applied (a
    predicate's cue is never seen to come up, no session had a reward) it takes no entry away.
    """
    usage = entry.impact
    if usage.sessions < config.min_sessions:
        return None
    if entry.cue.type != "predicate":
        rate = usage.sessions_hit / usage.sessions
        if rate < config.min_cue_hit_rate:
            return f"Its cue came up in {rate:.0%} of {usage.sessions} sessions."
        served = len(usage.conversations)
        if served < ENOUGH_CONVERSATIONS and usage.sessions >= config.min_transfer_sessions:
            return f"Its cue came up in fewer than {ENOUGH_CONVERSATIONS} conversations."
    return _reward_reason(usage, config)


def _reward_reason(usage: EntryUsage, config: PruningConfig) -> str | None:
    delta = reward_delta(usage)
    if delta is None:
        return None
    if delta < -config.min_reward_delta and usage.cue_hits >= _HITS_FOR_HARM:
        return f"Rewards were {-delta:.3f} lower where its cue came up than before it was learnt."
    followed = (usage.action_adoptions + usage.failed_adoptions) / max(1, usage.cue_hits)
    if delta < config.min_reward_delta and followed > _ADOPTED and usage.cue_hits >= _HITS_FOR_NO_USE:
        return f"It was followed in {followed:.0%} of its turns and rewards changed by {delta:+.3f} only."
    return None


def reward_delta(usage: EntryUsage) -> float | None:
    """Mean reward of sessions in which the cue came up, less the mean before the entry was learnt.

    None where either is not known.
    """
    if not usage.rewarded_hit or usage.reward_before is None:
        return None
    return usage.reward_sum_hit / usage.rewarded_hit - usage.reward_before
