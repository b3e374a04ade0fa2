from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_assets.atlas.playbook import PlaybookEntry, RejectedEntry, check_entry

from .build import HANDLES, learning, raw


def check(proposal: object, **sections: Any) -> PlaybookEntry | RejectedEntry:
    return check_entry(proposal, learning(**sections), HANDLES)


def accepted(proposal: object, **sections: Any) -> PlaybookEntry:
    checked = check(proposal, **sections)
    assert isinstance(checked, PlaybookEntry), checked
    return checked


def rejected(proposal: object, **sections: Any) -> RejectedEntry:
    checked = check(proposal, **sections)
    assert isinstance(checked, RejectedEntry), checked
    return checked


def test_a_good_entry_gets_in_with_its_scores():
    entry = accepted(raw())
    assert (entry.id, entry.audience, entry.cue.pattern) == ("clone", "student", "clone, duplicate")
    assert entry.action.runtime_handle == "clone_opportunity"
    assert entry.scope.category == "reinforcement"
    assert entry.rubric is not None
    assert entry.rubric.weighted == pytest.approx(0.4 + 0.3 + 0.2 * 0.4 + 0.1)


def test_a_learner_has_no_say_in_scores_usage_and_provenance():
    entry = accepted(
        raw(
            rubric={"weighted": 9},
            impact={"cue_hits": 99, "reward_sum_hit": 99.0},
            provenance={"created_at": "1999-01-01T00:00:00Z", "lifecycle": "pruned"},
        )
    )
    assert entry.rubric is not None and entry.rubric.weighted < 1
    assert entry.impact.cue_hits == 0
    assert entry.provenance.created_at is None and entry.provenance.lifecycle == "active"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"audience": None}, "student"),
        ({"action": {"runtime_handle": None, "tool_name": "client_search"}}, "client_search"),
        ({"cue": {"type": "Keyword"}}, "keyword"),
        ({"cue": {"pattern": ["copy", "clone"]}}, "copy; clone"),
        ({"expected_effect": None, "scope": None}, '"expected_effect":""'),
        ({"scope": {"category": "novel"}}, "differentiation"),
        (
            {"action": {"imperative": "Call\n\x00clone_opportunity\u2028 now."}},
            "Call clone_opportunity now.",
        ),
    ],
)
def test_small_liberties_are_forgiven(change: dict[str, Any], text: str):
    assert text in orjson.dumps(accepted(raw(**change)).model_dump(mode="json")).decode()


@pytest.mark.parametrize("name", [None, "", "   ", "x" * 81])
def test_an_entry_without_a_usable_id_gets_one_that_follows_from_cue_and_tool(name: str | None):
    first = accepted(raw(id=name))
    again = accepted(raw(id=name, expected_effect="Something else."))
    other = accepted(raw(id=name, cue={"pattern": "copy"}))
    assert first.id == again.id != other.id
    assert first.id.startswith("clone_opportunity-")


@pytest.mark.parametrize(
    "proposal",
    [
        None,
        [],
        "text",
        7,
        {},
        raw(cue="clone"),
        raw(action=[]),
        raw(audience="judge"),
        raw(cue={"pattern": 7}),
        raw(action={"imperative": {"do": "it"}}),
        raw(action={"arguments": "stage=Won"}),
        raw(action={"arguments": {"amount": 10**40}}),
        raw(action={"imperative": "word " * 400}),
    ],
)
def test_what_is_not_of_the_form_is_rejected(proposal: object):
    refusal = rejected(proposal)
    assert refusal.gate == "form"
    assert refusal.reason.startswith("Rejected because it")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"imperative": " "}, "what to do"),
        ({"runtime_handle": None}, "names no tool"),
        ({"runtime_handle": "send_email"}, "send_email is not an allowed tool"),
        ({"runtime_handle": "Client_Search"}, "is not an allowed tool"),
    ],
)
def test_an_entry_must_say_what_to_do_with_a_tool_that_there_is(action: dict[str, Any], reason: str):
    refusal = rejected(raw(action=action))
    assert (refusal.id, refusal.gate) == ("clone", "actionability")
    assert reason in refusal.reason


def test_the_configured_handles_count_before_the_tools():
    only = {"allowed_runtime_handles": ["client_search"]}
    assert rejected(raw(), schema=only).gate == "actionability"
    assert accepted(raw(action={"runtime_handle": "client_search"}), schema=only)


@pytest.mark.parametrize(
    ("cue", "reason"),
    [
        ({"type": "vibe"}, "not one of"),
        ({"type": ""}, "missing"),
        ({"pattern": " "}, "no pattern"),
        ({"pattern": " , | "}, "no keyword"),
        ({"type": "regex", "pattern": "("}, "not a valid regular expression"),
        ({"type": "regex", "pattern": "(a+)+$"}, "too long"),
    ],
)
def test_a_cue_must_be_usable(cue: dict[str, Any], reason: str):
    refusal = rejected(raw(cue=cue))
    assert refusal.gate == "cue"
    assert reason in refusal.reason


def test_only_configured_types_of_cues_get_in():
    assert rejected(raw(), schema={"cue_types": ["regex"]}).gate == "cue"


PARTICULAR = [
    "as in the incident",
    "close the Ticket first",
    "in both cases",
    "since 2031-04-05",
    "before 4/30/2031",
    "on March 3rd",
    "by 12 Dec",
    "see /srv/data/report",
    r"see C:\reports",
    "see https://crm.example/x",
    "upload proposal_v2.pdf",
    "for 91420cc3-d2c0-44ab-87b6-0cd95e8653d0",
    "quote Q-1042",
    "request #331",
    "commit 0a1b2c3d4e",
    "write to jo@acme.example",
    "set the amount to 158000",
    "set the amount to $50,000",
    "dial +1-202-555-0107",
]


@pytest.mark.parametrize("text", PARTICULAR)
@pytest.mark.parametrize("place", ["imperative", "description", "effect", "applies_when", "arguments"])
def test_what_is_about_one_case_is_rejected_wherever_it_stands(text: str, place: str):
    proposal = {
        "imperative": raw(action={"imperative": f"Do it {text}."}),
        "description": raw(cue={"description": f"It is {text}."}),
        "effect": raw(expected_effect=text),
        "applies_when": raw(scope={"applies_when": text}),
        "arguments": raw(action={"arguments": {"any": [text]}}),
    }[place]
    assert rejected(proposal).gate == "generality"


@pytest.mark.parametrize(
    "text",
    [
        "Give dates as YYYY-MM-DD (ISO-8601)",
        "create/update/delete need an ID",
        "a probability of 0 to 100",
        "Pass at most 1000 characters",
        "Use the file name that ends in .pdf",
        "It may fail 2 times",
        "Read the casework and showcase",
        "amounts such as 5.25",
        "facade and decade are words",
    ],
)
def test_what_is_general_gets_in(text: str):
    assert accepted(raw(action={"imperative": text}))


@pytest.mark.parametrize(
    "pattern", [r"\bcopy\b.{1,300}deal", r"\d{4}-\d{2}-\d{2}", r"(add|log)/(a|the) note"]
)
def test_what_a_regex_only_matches_is_no_particular(pattern: str):
    assert accepted(raw(cue={"type": "regex", "pattern": pattern}))


@pytest.mark.parametrize("pattern", [r"\bticket\b", r"report\.pdf", r"Q\-1042", "2031-04-05"])
def test_what_a_regex_names_is_one(pattern: str):
    assert rejected(raw(cue={"type": "regex", "pattern": pattern})).gate == "generality"


def test_banned_words_are_the_configurations():
    assert accepted(raw(expected_effect="a ticket"), gates={"banned_incident_tokens": []})
    assert rejected(raw(expected_effect="a deal"), gates={"banned_incident_tokens": ["deal"]})


@pytest.mark.parametrize(
    ("switch", "change", "score"),
    [
        ("enforce_actionability", {"action": {"runtime_handle": None}}, "actionability"),
        ("enforce_cue", {"cue": {"type": "regex", "pattern": "(a+)+$"}}, "hookability"),
        ("enforce_generality", {"expected_effect": "a ticket"}, "generality"),
    ],
)
def test_a_gate_can_be_switched_off_and_then_only_scores(switch: str, change: dict[str, Any], score: str):
    assert isinstance(check(raw(**change)), RejectedEntry)
    entry = accepted(raw(**change), gates={switch: False})
    assert getattr(entry.rubric, score) == 0


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)
NEAR_ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "id": ANY_JSON | TEXT,
        "audience": st.sampled_from(["student", "teacher", None, 3]),
        "cue": st.fixed_dictionaries(
            {"type": st.sampled_from(["regex", "keyword", "predicate", "x"]), "pattern": TEXT | ANY_JSON}
        )
        | ANY_JSON,
        "action": st.fixed_dictionaries(
            {"imperative": TEXT, "runtime_handle": st.sampled_from(HANDLES)},
            optional={"arguments": ANY_JSON},
        )
        | ANY_JSON,
        "scope": ANY_JSON,
        "expected_effect": ANY_JSON,
    },
)


@settings(max_examples=100, derandomize=True, database=None)
@given(ANY_JSON | NEAR_ENTRIES)
def test_whatever_a_learner_writes_gets_in_or_is_rejected(proposal: object):
    checked = check(proposal)
    if isinstance(checked, RejectedEntry):
        assert checked.reason
        return
    # What gets in can be stored, and is the same when it is read again.
    assert PlaybookEntry.model_validate(orjson.loads(orjson.dumps(checked.model_dump(mode="json"))))
    assert checked.action.runtime_handle in HANDLES and checked.id
