"""What a learning key has learnt, in our form and in the SDK's."""

from __future__ import annotations

from typing import Any

import orjson

from crm_assets.atlas.playbook import EntryUsage, LearningState, Rubric
from crm_assets.atlas.telemetry.jsonb import jsonb
from crm_assets.atlas.telemetry.registry import RegistryRow, read_row, row_metadata

from .build import entry, learn

NOTHING = RegistryRow(LearningState())


def sdk_entry(**changes: Any) -> dict[str, Any]:
    """An entry as SDK 0.1.16 leaves it."""
    return {
        "id": "playbook-entry-1",
        "audience": "student",
        "cue": {"type": "keyword", "pattern": "invoice", "description": "An invoice is asked for."},
        "action": {"imperative": "Look it up.", "runtime_handle": "x", "tool_name": None, "arguments": {}},
        "expected_effect": "It is found.",
        "scope": {"category": "reinforcement", "constraints": "", "applies_when": ""},
        "metadata": {"validation_status": "validated"},
        "rubric": {
            "gates": {"actionability": True},
            "scores": {"actionability": 1.0, "generality": 1.0, "hookability": 0.4, "concision": 1.0},
            "weighted_total": 0.88,
            "failure_reasons": [],
            "weights": {"actionability": 0.4},
        },
        "provenance": {
            "created_at": "2026-01-01T00:00:00+00:00",
            "updated_at": "2026-01-02T00:00:00+00:00",
            "source_session_id": 17,
            "status": {"category": "reinforcement", "lifecycle": "active"},
        },
        "impact": {
            "sessions_observed": 9,
            "sessions_with_hits": 4,
            "sessions_without_hits": 5,
            "total_cue_hits": 6,
            "total_adoptions": 3,
            "successful_adoptions": 2,
            "failed_adoptions": 1,
            "reward_with_sum": 3.5,
            "reward_with_count": 4,
        },
        **changes,
    }


def test_a_state_comes_back_as_it_was() -> None:
    state = learn(
        LearningState(
            student_learning="s",
            teacher_learning="t",
            sessions=4,
            reward_sum=2.5,
            rewarded=3,
            last_evaluation={"accepted": ["e-1"]},
        )
    )
    stored = orjson.loads(jsonb(row_metadata(state, NOTHING)))
    assert read_row(state.student_learning, state.teacher_learning, stored).state == state


def test_the_sdk_finds_its_own_keys() -> None:
    metadata = row_metadata(LearningState(entries=(entry(),), version=3), NOTHING)
    assert [found["id"] for found in metadata["playbook_entries"]] == ["e-1"]
    assert metadata["playbook_version"] == "playbook_entry.v1"
    assert metadata["crm_assets"] == {"version": 3, "sessions": 0, "reward_sum": 0.0, "rewarded": 0}


def test_what_the_sdk_learnt_is_read() -> None:
    metadata = {"playbook_entries": [sdk_entry()], "playbook_version": "playbook_entry.v1"}
    state = read_row("pamphlet", "", metadata).state
    assert (state.student_learning, state.teacher_learning, state.version) == ("pamphlet", None, 0)
    (learnt,) = state.entries
    assert learnt.action.imperative == "Look it up."
    assert learnt.scope.category == "reinforcement"
    assert learnt.provenance.source_session_id == "17"
    assert learnt.rubric == Rubric(
        actionability=1.0, generality=1.0, hookability=0.4, concision=1.0, weighted=0.88
    )
    assert learnt.impact == EntryUsage(
        sessions=9,
        cue_hits=6,
        sessions_hit=4,
        action_adoptions=2,
        failed_adoptions=1,
        reward_sum_hit=3.5,
        rewarded_hit=4,
    )


def test_what_the_sdk_pruned_stays_out() -> None:
    pruned = sdk_entry(provenance={"status": {"lifecycle": "pruned"}})
    doubtful = sdk_entry(id="p-2", provenance={"status": {"lifecycle": "provisional"}})
    state = read_row(None, None, {"playbook_entries": [pruned, doubtful]}).state
    assert [learnt.id for learnt in state.entries] == ["p-2"]


def test_what_cannot_be_read_stays_in_the_row() -> None:
    stored = {"playbook_entries": ["words", {"id": "half"}, sdk_entry()], "playbook_summary": {"passed": 1}}
    row = read_row(None, None, stored)
    assert [learnt.id for learnt in row.state.entries] == ["playbook-entry-1"]
    metadata = row_metadata(LearningState(entries=(entry(),)), row)
    assert metadata["playbook_summary"] == {"passed": 1}
    assert metadata["playbook_entries"][1:] == ["words", {"id": "half"}]
    assert [learnt.id for learnt in read_row(None, None, metadata).state.entries] == ["e-1"]


def test_nonsense_is_an_empty_state() -> None:
    for metadata in (None, [], "x", {"playbook_entries": 3, "crm_assets": [], "last_evaluation": 1}):
        assert read_row(None, None, metadata).state == LearningState()
    assert read_row(None, None, {"crm_assets": {"version": "many"}}).state.version == 0
