from __future__ import annotations

from crm_assets.atlas.playbook import EntryCounts, LearningState, TurnFacts, track_usage

from .build import entry

TURNS = (
    TurnFacts("Clone this opportunity", {"clone_opportunity": True, "client_search": False}),
    TurnFacts("Clone it again", {"clone_opportunity": False}),
    TurnFacts("Clone it once more", {"create_new_opportunity": True}),
    TurnFacts("Clone?", {}),
    TurnFacts("Show it", {"clone_opportunity": True}),
)


def test_hits_are_adopted_refused_or_not_followed():
    state = LearningState(
        entries=(
            entry("clone", "clone"),
            entry("show", "show", handle=None),
            entry("regex", r"^clone (it|this)\b", kind="regex", handle="create_new_opportunity"),
            entry("never", "merge"),
            entry("predicate", "clone", kind="predicate"),
            entry("teacher", "show", audience="teacher"),
        )
    )
    report = track_usage(state, TURNS)
    assert report.entries == {
        "clone": EntryCounts(4, 1, 1),
        "show": EntryCounts(1, 0, 0),
        "regex": EntryCounts(3, 1, 0),
        "never": EntryCounts(),
        "predicate": EntryCounts(),
        "teacher": EntryCounts(1, 1, 0),
    }
    document = report.document()
    assert (document["entries_shown"], document["cue_hits"]) == (6, 9)
    assert (document["action_adoptions"], document["failed_adoptions"]) == (3, 1)
    assert set(document["entries"]) == {"clone", "show", "regex", "teacher"}
    assert document["entries"]["clone"] == {"cue_hits": 4, "action_adoptions": 1, "failed_adoptions": 1}


def test_an_entry_that_the_prompt_had_no_room_for_is_not_watched():
    state = LearningState(
        entries=tuple(
            entry(str(number), imperative="x" * 400, weighted=1 - number / 10) for number in range(4)
        )
    )
    assert list(track_usage(state, TURNS).entries) == ["0", "1"]


def test_nothing_learnt_is_nothing_used():
    assert track_usage(LearningState(), TURNS).document()["entries_shown"] == 0
