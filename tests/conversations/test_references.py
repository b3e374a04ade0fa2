from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.conversations import (
    ReferenceUnresolved,
    find_placeholders,
    find_references,
    load_conversations,
    resolve,
    turn_output,
)
from crm_assets.errors import InputError

OUTPUTS = {1: {"client_id": "abc", "amount": 75000.0, "tags": ["a"], "won": True, "none": None}}

plain_text = st.text().filter(lambda text: "{{" not in text)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)


def json_of(leaves):
    return st.recursive(
        scalars | leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=20,
    )


def test_a_lone_reference_takes_the_value_as_it_is():
    assert resolve("{{turn_1.amount}}", OUTPUTS) == 75000.0
    assert resolve("{{turn_1.tags}}", OUTPUTS) == ["a"]
    assert resolve("{{turn_1.won}}", OUTPUTS) is True
    assert resolve("{{turn_1.none}}", OUTPUTS) is None


def test_blanks_inside_the_braces_are_allowed():
    assert resolve("{{  turn_1.client_id }}", OUTPUTS) == "abc"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Client {{turn_1.client_id}}, please", "Client abc, please"),
        ("over {{turn_1.amount}} dollars", "over 75000 dollars"),
        ("won: {{turn_1.won}}", "won: true"),
        ("{{turn_1.client_id}}{{turn_1.client_id}}", "abcabc"),
        (" {{turn_1.amount}}", " 75000"),
    ],
)
def test_an_embedded_reference_becomes_text(text, filled):
    assert resolve(text, OUTPUTS) == filled


def test_dicts_and_lists_are_searched_and_keys_left_alone():
    value = {"{{turn_1.client_id}}": ["{{turn_1.client_id}}", {"deep": "{{turn_1.amount}}"}]}
    assert resolve(value, OUTPUTS) == {"{{turn_1.client_id}}": ["abc", {"deep": 75000.0}]}


def test_what_is_filled_in_is_not_read_again():
    outputs = {1: {"name": "{{turn_2.name}}"}, 2: {"name": "no"}}
    assert resolve("Hi {{turn_1.name}}", outputs) == "Hi {{turn_2.name}}"


def test_an_unknown_field_names_turn_field_and_what_there_is():
    with pytest.raises(ReferenceUnresolved) as caught:
        resolve({"id": "{{turn_1.quote_id}}"}, OUTPUTS)
    error = caught.value
    assert isinstance(error, InputError)
    assert (error.turn, error.field) == (1, "quote_id")
    assert "client_id" in error.reason


@pytest.mark.parametrize("text", ["{{turn_3.client_id}}", "see {{turn_3.client_id}}"])
def test_a_turn_that_failed_or_has_not_run_is_an_error(text):
    with pytest.raises(ReferenceUnresolved, match="turn 3 failed or has not run") as caught:
        resolve(text, OUTPUTS)
    assert (caught.value.turn, caught.value.field) == (3, "client_id")


def test_not_strict_leaves_what_cannot_be_filled():
    text = "{{turn_9.client_id}} and {{turn_1.client_id}}"
    assert resolve(text, OUTPUTS, strict=False) == "{{turn_9.client_id}} and abc"
    assert resolve("{{turn_1.nothing}}", OUTPUTS, strict=False) == "{{turn_1.nothing}}"


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ({"client_id": "a"}, {"client_id": "a"}),
        ([{"client_id": "a"}, {"client_id": "b"}], {"client_id": "a"}),
        ([], {}),
        (True, {"value": True}),
        (None, {"value": None}),
        (["STD", "VIP"], {"value": "STD"}),
        ({"quotes": [], "total_amount": 0}, {"quotes": [], "total_amount": 0}),
    ],
)
def test_turn_output(result, output):
    assert turn_output(result) == output


def test_find_references_reads_everything_in_order():
    value = {"a": "{{turn_2.x}}", "b": ["{{ turn_1.y }} and {{turn_2.x}}"], "{{turn_9.key}}": 1}
    assert find_references(value) == [(2, "x"), (1, "y"), (2, "x")]
    assert str(find_references(value)[1]) == "{{turn_1.y}}"


def test_find_references_survives_deep_nesting():
    value: object = "{{turn_1.x}}"
    for _ in range(50_000):
        value = [value]
    assert find_references(value) == [(1, "x")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("called {{opportunity_name}} for {{turn_1.client_id}}", ["{{opportunity_name}}"]),
        ("in stage {stage} and {quote_id_1}", ["{stage}", "{quote_id_1}"]),
        ("{{turn_1.quotes.0}} {{turn_x.id}}", ["{{turn_1.quotes.0}}", "{{turn_x.id}}"]),
        ('{"a": 1} {} {{}} { }', []),
        ("plain", []),
        ("{{turn_" + "9" * 5000 + ".id}}", ["{{turn_" + "9" * 5000 + ".id}}"]),
    ],
)
def test_placeholders_are_what_no_turn_can_fill(text, found):
    assert find_placeholders(text) == found
    assert resolve(text.replace("{{turn_1.client_id}}", ""), OUTPUTS) is not None


@given(json_of(plain_text))
def test_resolve_changes_nothing_without_references(value):
    assert resolve(value, OUTPUTS) == value
    assert find_references(value) == []


@given(json_of(st.text()))
def test_not_strict_never_raises(value):
    resolve(value, {}, strict=False)
    assert resolve(value, {}, strict=False) == value


@given(
    plain_text, plain_text, st.integers(1, 999), st.from_regex(r"[a-z_]{1,12}", fullmatch=True), plain_text
)
def test_every_reference_is_found_and_filled(before, after, number, field, filling):
    before, after = before.replace("{", "").replace("}", ""), after.replace("{", "").replace("}", "")
    text = f"{before}{{{{turn_{number}.{field}}}}}{after}"
    assert find_references(text) == [(number, field)]
    assert resolve(text, {number: {field: filling}}) == before + filling + after


@given(st.text(alphabet="{}turn_1. ab", max_size=40))
def test_a_text_is_either_reference_or_placeholder_never_both(text):
    references = {str(found) for found in find_references(text)}
    assert references.isdisjoint(re.sub(r"\s", "", found) for found in find_placeholders(text))


def test_every_real_reference_points_back(corpus):
    seen = 0
    for record in load_conversations(corpus / "clbench_eval.jsonl"):
        for turn in record.turns:
            for reference in find_references([turn.user_utterance, turn.expected_args]):
                seen += 1
                assert reference.turn < turn.turn_id
    assert seen == 368
