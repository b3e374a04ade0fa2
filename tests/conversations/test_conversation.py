from __future__ import annotations

import pytest
from pydantic import ValidationError

from crm_assets.conversations import Conversation, Turn, load_conversations

from .conftest import turn


def test_optional_fields_take_their_defaults(conversation):
    record = conversation()
    first = record.turns[0]
    assert first.expect_success is True
    assert first.expected_error_substring is None
    assert first.expected_response is None
    assert first.references_previous_turns == ()
    assert record.segment_boundaries is None
    assert record.cumulative_context == {}


@pytest.mark.parametrize("field", ["expected_args", "references_previous_turns", "expected_response"])
def test_null_counts_as_absent(field):
    assert Turn.model_validate(turn(1, **{field: None})).model_dump()[field] in ({}, (), None)


def test_unknown_fields_are_ignored(conversation):
    record = conversation(_source_path="somewhere.jsonl", turns=[turn(1, mood="cheerful")])
    assert "_source_path" not in record.model_dump()
    assert "mood" not in record.model_dump()["turns"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("turn_id", "1"),
        ("turn_id", 1.0),
        ("turn_id", True),
        ("user_utterance", 5),
        ("expected_tool", ""),
        ("expected_args", []),
        ("expect_success", "yes"),
        ("references_previous_turns", "1"),
        ("expected_response", "text"),
    ],
)
def test_types_are_never_converted(field, value):
    with pytest.raises(ValidationError) as caught:
        Turn.model_validate(turn(1, **{field: value}))
    assert caught.value.errors()[0]["loc"][0] == field


def test_records_are_frozen(conversation):
    with pytest.raises(ValidationError):
        conversation().conversation_id = "other"


def test_segment_of_counts_from_one_and_boundaries_are_last_turns(conversation):
    record = conversation(turns=[turn(n) for n in range(1, 7)], segment_boundaries=[2, 5])
    assert [record.segment_of(n) for n in range(1, 7)] == [1, 1, 2, 2, 2, 3]


def test_without_boundaries_everything_is_the_first_segment(conversation):
    assert conversation().segment_of(2) == 1


def test_seed_data_is_empty_where_there_is_none(conversation):
    assert conversation(initial_entities={"client_name": "Acme"}).seed_data == {}
    assert conversation(initial_entities=None).seed_data == {}
    assert conversation(initial_entities={"seed_data": {"Client": None}}).seed_data == {"Client": {}}


def test_content_hash_ignores_the_order_of_keys_but_nothing_else(document):
    plain = document()
    reordered = dict(reversed(plain.items()))
    changed = document(turns=[turn(1, user_utterance="Find Acme!"), turn(2)])
    hashes = [Conversation.model_validate(value).content_hash for value in (plain, reordered, changed)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_a_conversation_survives_being_written_and_read(conversation):
    record = conversation(segment_boundaries=[1, 2])
    again = Conversation.model_validate_json(record.model_dump_json())
    assert again == record
    assert again.content_hash == record.content_hash


@pytest.mark.parametrize(
    ("name", "count", "turns"),
    [
        ("clbench_eval", 200, 745),
        ("clbench_chains_failures", 100, 1184),
        ("clbench_chains_clean", 209, 794),
        ("clbench_chains_enriched", 56, 396),
    ],
)
def test_real_datasets_load_whole(corpus, name, count, turns):
    records = list(load_conversations(corpus / f"{name}.jsonl"))
    assert len(records) == count
    assert sum(len(record.turns) for record in records) == turns


def test_real_expected_failures_keep_their_reason(corpus):
    records = load_conversations(corpus / "clbench_chains_failures.jsonl")
    failing = [turn for record in records for turn in record.turns if not turn.expect_success]
    assert len(failing) == 40
    assert {turn.expected_error_substring for turn in failing} == {
        "Validation error",
        "extension '.exe' is not supported",
    }
