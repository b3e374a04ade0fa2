from __future__ import annotations

from typing import Any

import pytest

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.playbook import EntryUsage, reward_delta
from crm_assets.atlas.playbook.pruning import prune, pruning_reason

from .build import entry

SERVED = ("one", "two")
SEEN = {"sessions": 10, "conversations": SERVED, "sessions_hit": 5, "cue_hits": 5}


def reason(kind: str = "keyword", **usage: Any) -> str | None:
    return pruning_reason(entry(kind=kind, **usage), PruningConfig())


def rewards(before: float, with_it: float, sessions: int = 5) -> dict[str, Any]:
    return {"reward_before": before, "reward_sum_hit": with_it * sessions, "rewarded_hit": sessions}


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        ({"sessions": 9}, None),
        ({"sessions": 10}, "Its cue matched in 0% of 10 sessions."),
        ({"sessions": 40, "sessions_hit": 1, "cue_hits": 9}, "Its cue matched in 2% of 40 sessions."),
        ({"sessions": 40, "sessions_hit": 2, "cue_hits": 2, "conversations": SERVED}, None),
        ({**SEEN, "sessions": 19, "conversations": ("one",)}, None),
        ({**SEEN, "sessions": 20, "conversations": ("one",)}, "fewer than 2 conversations"),
        ({**SEEN, "sessions": 20}, None),
        ({**SEEN, **rewards(0.8, 0.78)}, "0.020 lower"),
        ({**SEEN, **rewards(0.8, 0.795)}, None),
        ({**SEEN, **rewards(0.8, 0.5), "cue_hits": 4}, None),
        ({**SEEN, **rewards(0.8, 0.5), "sessions": 9}, None),
        ({**SEEN, **rewards(0.8, 0.805), "cue_hits": 10, "action_adoptions": 6}, "followed in 60%"),
        (
            {**SEEN, **rewards(0.8, 0.805), "cue_hits": 10, "action_adoptions": 3, "failed_adoptions": 3},
            "followed in 60%",
        ),
        ({**SEEN, **rewards(0.8, 0.805), "cue_hits": 10, "action_adoptions": 5}, None),
        ({**SEEN, **rewards(0.8, 0.805), "cue_hits": 9, "action_adoptions": 9}, None),
        ({**SEEN, **rewards(0.8, 0.82), "cue_hits": 10, "action_adoptions": 10}, None),
        ({**SEEN, "cue_hits": 10, "action_adoptions": 10}, None),
    ],
)
def test_an_entry_goes_when_it_was_watched_and_shows_no_good(usage: dict[str, Any], why: str | None):
    found = reason(**usage)
    assert found is None if why is None else why in (found or "")


def test_a_predicate_does_not_go_because_nobody_saw_it_come_up():
    assert reason("predicate", sessions=50) is None
    assert reason("keyword", sessions=50) is not None


def test_thresholds_are_the_configurations():
    config = PruningConfig(min_sessions=2, min_cue_hit_rate=0.9, min_reward_delta=0.0)
    assert pruning_reason(entry(sessions=2, sessions_hit=1), config) is not None
    assert pruning_reason(entry(sessions=1), config) is None
    late = PruningConfig(min_transfer_sessions=11)
    assert pruning_reason(entry(**{**SEEN, "sessions": 11, "conversations": ("a",)}), late) is not None


@pytest.mark.parametrize(
    "usage",
    [
        EntryUsage(reward_before=None, reward_sum_hit=1.0, rewarded_hit=1),
        EntryUsage(reward_before=0.5, reward_sum_hit=0.0, rewarded_hit=0, sessions_hit=7, cue_hits=7),
    ],
)
def test_a_reward_that_is_not_known_is_no_reward_of_nought(usage: EntryUsage):
    assert reward_delta(usage) is None


def test_what_stays_keeps_its_order_and_what_goes_is_told():
    entries = [entry("a"), entry("b", sessions=10), entry("c")]
    kept, gone = prune(entries, PruningConfig())
    assert [one.id for one in kept] == ["a", "c"]
    assert list(gone) == ["b"]
