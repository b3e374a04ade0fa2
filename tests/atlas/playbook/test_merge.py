from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_assets.atlas.playbook import (
    MOST_ENTRIES,
    EntryCounts,
    LearningState,
    LearningUpdate,
    PlaybookEntry,
    RejectedEntry,
    UsageReport,
    merge,
)

from .build import entry, learning

NOW = "2031-01-01T00:00:00.000+00:00"
LATER = "2031-01-02T00:00:00.000+00:00"


def merged(
    state: LearningState,
    *entries: PlaybookEntry,
    usage: dict[str, EntryCounts] | None = None,
    config: Any = None,
    **more: Any,
) -> LearningState:
    given: dict[str, Any] = {"session": "s-1", "conversation": "c-1", "reward": 0.5, "now": NOW, **more}
    update = given.pop("update", LearningUpdate(entries=entries) if entries else None)
    report = None if usage is None else UsageReport(usage)
    return merge(state, update, report, **given, pruning=(config or learning()).pruning_config)


def test_a_new_entry_is_dated_and_remembers_what_rewards_were_before_it():
    state = merged(LearningState(reward_sum=0.9, rewarded=1, sessions=2), entry(cue_hits=7), reward=0.5)
    (learnt,) = state.entries
    assert learnt.provenance.created_at == learnt.provenance.updated_at == NOW
    assert learnt.provenance.source_session_id == "s-1"
    assert learnt.impact.cue_hits == 0
    assert learnt.impact.reward_before == pytest.approx(0.7)
    assert (state.sessions, state.rewarded, state.version) == (3, 2, 1)


def test_an_entry_learnt_before_any_reward_has_none_to_compare_with():
    (learnt,) = merged(LearningState(), entry(), reward=None).entries
    assert learnt.impact.reward_before is None


@pytest.mark.parametrize(
    "again",
    [
        entry("clone", "copy", imperative="Better."),
        entry("other", "CLONE", imperative="Better."),
    ],
)
def test_another_wording_of_an_entry_takes_its_place_and_keeps_its_past(again: PlaybookEntry):
    first = merged(LearningState(), entry("first", "x"), entry("clone", "clone"), entry("last", "z"))
    used = merged(first, usage={"clone": EntryCounts(2, 1, 0)})
    state = merged(used, again, session="s-2", now=LATER)
    assert [one.id for one in state.entries] == ["first", "clone", "last"]
    renewed = state.entries[1]
    assert (renewed.action.imperative, renewed.cue) == ("Better.", again.cue)
    assert renewed.impact == used.entries[1].impact and renewed.impact.cue_hits == 2
    assert (renewed.provenance.created_at, renewed.provenance.updated_at) == (NOW, LATER)
    assert renewed.provenance.source_session_id == "s-1"
    assert state.last_evaluation is not None and state.last_evaluation["accepted"] == ["clone"]


def test_the_same_cue_for_another_tool_or_reader_is_another_entry():
    state = merged(
        LearningState(),
        entry("a"),
        entry("b", handle="client_search"),
        entry("c", audience="teacher"),
        entry("d", kind="predicate"),
    )
    assert [one.id for one in state.entries] == ["a", "b", "c", "d"]


def test_pamphlets_are_replaced_only_if_given():
    before = LearningState(student_learning="old", teacher_learning="old", version=4)
    state = merged(before, update=LearningUpdate(student_pamphlet="new", teacher_pamphlet=""))
    assert (state.student_learning, state.teacher_learning, state.version) == ("new", "old", 5)


def test_counters_alone_are_no_new_version():
    before = merged(LearningState(), entry())
    after = merged(before, usage={"clone": EntryCounts(1, 1, 0)})
    assert after.version == before.version
    assert after.entries[0].impact.action_adoptions == 1


def test_usage_adds_up_session_by_session():
    state = merged(LearningState(), entry())
    sessions = [
        ("c-1", EntryCounts(2, 1, 1), 0.25),
        ("c-1", EntryCounts(), 1.0),
        ("c-2", EntryCounts(1, 0, 0), None),
        ("c-3", EntryCounts(1, 1, 0), 0.75),
    ]
    for conversation, counts, reward in sessions:
        state = merged(state, usage={"clone": counts}, conversation=conversation, reward=reward)
    impact = state.entries[0].impact
    assert (impact.sessions, impact.sessions_hit, impact.cue_hits) == (4, 3, 4)
    assert (impact.action_adoptions, impact.failed_adoptions) == (2, 1)
    assert impact.conversations == ("c-1", "c-2")
    assert (impact.reward_sum_hit, impact.rewarded_hit) == (1.0, 2)
    assert (state.sessions, state.rewarded, state.reward_sum) == (5, 4, 2.5)


def test_a_session_that_did_not_have_an_entry_does_not_count_for_it():
    state = merged(LearningState(), entry("a", "a"), entry("b", "b"))
    state = merged(state, usage={"a": EntryCounts(), "gone": EntryCounts(3, 3, 0)})
    assert [one.impact.sessions for one in state.entries] == [1, 0]
    assert merged(state, usage=None).entries == state.entries


def test_what_is_pruned_is_told():
    state = LearningState(entries=(entry("dull", "x", sessions=9), entry("fine", "y")))
    after = merged(
        state,
        usage={"dull": EntryCounts()},
        update=LearningUpdate(rejected=(RejectedEntry(id="z", gate="cue", reason="No."),)),
    )
    assert [one.id for one in after.entries] == ["fine"]
    assert after.version == 1
    assert after.last_evaluation == {
        "accepted": [],
        "rejected": [{"id": "z", "gate": "cue", "reason": "No."}],
        "pruned": [{"id": "dull", "reason": "Its cue matched in 0% of 10 sessions."}],
        "session": "s-1",
        "at": NOW,
    }


def test_a_key_keeps_its_best_entries_only():
    many = [
        entry(f"e{number}", f"cue{number}", weighted=number / 100) for number in range(MOST_ENTRIES + 2)
    ]
    state = merged(LearningState(), *many)
    assert [one.id for one in state.entries] == [one.id for one in many[2:]]
    assert state.last_evaluation is not None
    assert [one["id"] for one in state.last_evaluation["pruned"]] == ["e0", "e1"]


COUNTS = st.builds(EntryCounts, st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
SESSIONS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([entry(f"n{n}", f"new {n}") for n in range(6)]), max_size=3),
        st.dictionaries(st.sampled_from(["k0", "k1", "unknown"]), COUNTS),
        st.none() | st.integers(0, 100).map(lambda score: score / 100),
        st.sampled_from(["c-1", "c-2", "c-3"]),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=100, derandomize=True, database=None)
@given(SESSIONS)
def test_sessions_merge_in_any_order_to_the_same_knowledge(sessions: list[Any]):
    start = LearningState(entries=(entry("k0", "known 0"), entry("k1", "known 1")))
    ends = []
    for order in itertools.islice(itertools.permutations(sessions), 6):
        state = start
        for entries, usage, reward, conversation in order:
            state = merged(state, *entries, usage=usage, reward=reward, conversation=conversation)
        impacts = {
            one.id: one.impact.model_dump(exclude={"reward_before", "conversations"})
            for one in state.entries
        }
        ends.append((impacts, state.sessions, state.reward_sum, state.rewarded))
    assert all(end == ends[0] for end in ends)
    # Nothing is lost: every entry that any session brought is there, once.
    brought = {one.id for entries, *_ in sessions for one in entries}
    assert set(ends[0][0]) == {"k0", "k1"} | brought
    assert ends[0][1] == len(sessions)


def test_merging_changes_nothing_that_it_was_given_and_its_result_can_be_stored():
    state = merged(LearningState(), entry(), usage={})
    before = state.model_dump_json()
    after = merged(state, entry("b", "b"), usage={"clone": EntryCounts(1, 1, 0)})
    assert state.model_dump_json() == before
    assert LearningState.model_validate(orjson.loads(orjson.dumps(after.model_dump(mode="json")))) == after
    assert merged(state, entry("b", "b"), usage={"clone": EntryCounts(1, 1, 0)}) == after
