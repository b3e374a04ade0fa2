from __future__ import annotations

import pytest

from crm_assets.conversations import DatasetError, ReplayFinding, audit
from crm_assets.conversations import audit as audit_dataset
from crm_assets.conversations.audit import EXAMPLES, MAX_KEYS, OTHER, REPLAYED_AT_ONCE
from crm_assets.crm import created_ids

from .conftest import turn

FIELDS = {
    "Client": frozenset({"client_id", "name", "email", "status", "industry", "owner", "phone"}),
    "Contact": frozenset(
        {"contact_id", "first_name", "last_name", "title", "email", "phone", "client_id", "notes"}
    ),
    "Opportunity": frozenset(
        {"opportunity_id", "client_id", "name", "stage", "amount", "probability", "owner", "notes"}
    ),
    "Quote": frozenset(
        {"quote_id", "opportunity_id", "name", "amount", "status", "version", "valid_until"}
    ),
    "Contract": frozenset({"contract_id", "client_id", "opportunity_id"}),
}


def test_counts(dataset, document):
    path = dataset(
        document("a"),
        document("b", workflow_category="General", complexity_level="medium", segment_boundaries=[1, 2]),
        document(
            "c",
            turns=[
                turn(1, expected_tool="add_note", expect_success=False),
                turn(2, expected_response={"text": "Found Acme."}),
            ],
        ),
    )
    report = audit(path)
    assert (report.conversations, report.turns, report.chains) == (3, 6, 1)
    assert (report.expected_failures, report.expected_responses, report.references) == (1, 1, 2)
    assert report.by_workflow == {"Client Management": 2, "General": 1}
    assert report.by_complexity == {"simple": 2, "medium": 1}
    assert report.by_tool == {"client_search": 5, "add_note": 1}
    assert report.bytes == path.stat().st_size
    assert report.replayed is False


def test_placeholders_in_texts_and_arguments(dataset, document):
    path = dataset(
        document(
            "a", turns=[turn(1, user_utterance="in {stage}", expected_args={"n": ["{{company_name}}"]})]
        ),
        document("b"),
    )
    fact = audit(path).unfillable_placeholders
    assert (fact.total, fact.conversations) == (2, 1)
    assert fact.counts == {"{stage}": 1, "{{company_name}}": 1}
    assert fact.examples[0] == "a: turn 1 has {stage}"


def test_replies_that_cannot_be_reproduced(dataset, document):
    reply = {"text": "Created 59d2fc72-d2ee-4de6-b8a3-7bb7666e65b1."}
    path = dataset(document("a", turns=[turn(1, expected_response=reply), turn(2)]), document("b"))
    fact = audit(path).unreproducible_replies
    assert (fact.total, fact.conversations, fact.counts) == (1, 1, {"client_search": 1})
    assert "59d2fc72" in fact.examples[0]


def test_copies_under_another_id_or_label_are_counted(dataset, document):
    other = document("d", initial_entities={"seed_data": {}})
    path = dataset(document("a"), document("b", workflow_category="Sales"), other, document("c"))
    copies = audit(path).copies
    assert (copies.total, copies.conversations) == (2, 2)
    assert copies.counts == {"line 1": 2}
    assert copies.examples == ["b: line 2 repeats line 1", "c: line 4 repeats line 1"]


def test_duplicate_ids_are_reported_not_raised(dataset, document):
    report = audit(dataset(document("a"), document("b"), document("a"), document("a")))
    assert report.conversations == 4
    assert report.duplicate_ids.total == 2
    assert report.duplicate_ids.counts == {"a": 2}
    assert report.duplicate_ids.examples == ["a: lines 1 and 3", "a: lines 1 and 4"]


def test_keys_that_resemble_a_known_one_that_is_missing(dataset, document):
    turns = [
        turn(1, expected_respone={"text": "Done."}, note="x"),
        turn(2, expected_response={"text": "Done.", "answer": ["Done."]}, expected_tools=[]),
    ]
    path = dataset(
        document("a", turns=turns, _source_path="x", initialEntities={}),
        document("b", initial_entities={"seedData": {}}, complexity="simple"),
    )
    fact = audit(path).misspelled_keys
    assert fact.counts == {"expected_respone": 1, "answer": 1, "seedData": 1}
    assert fact.conversations == 2
    assert "a: turns[0].expected_respone is not read (did you mean expected_response?)" in fact.examples
    assert "b: initial_entities.seedData is not read (did you mean seed_data?)" in fact.examples


def test_seeds_that_are_missing_or_under_an_unknown_name(dataset, document):
    rows = {"id-1": {"name": "Acme"}}
    path = dataset(
        document("a", initial_entities={"client_id": "id-1", "Client": rows}),
        document("b", initial_entities={"seed_data": {"client": rows, "Invoice": rows, "Client": rows}}),
        document("c", initial_entities={"seed_data": {}}),
        document("d", initial_entities=None),
    )
    fact = audit(path, seed_fields=FIELDS).unread_seeds
    assert fact.counts == {"seed_data": 2, "client": 1, "Invoice": 1}
    assert "a: initial_entities has no seed_data (it has client_id, Client)" in fact.examples
    where = "b: seeds are under 'client', which is not an entity of the CRM"
    assert f"{where} (did you mean Client?)" in fact.examples
    assert audit(path).unread_seeds.total == 0


def test_seed_fields_that_the_crm_does_not_have(dataset, document):
    seeds = {
        "Client": {"id-1": {"name": "x", "mood": 1}, "id-2": {"mood": 2}},
        "Robot": {"id-3": {"arm": 1}},
    }
    path = dataset(document("a", initial_entities={"seed_data": seeds}))
    fact = audit(path, seed_fields=FIELDS).ignored_seed_fields
    assert (fact.total, fact.conversations, fact.counts) == (2, 1, {"Client.mood": 2})
    assert audit(path).ignored_seed_fields.total == 0


def test_seeds_that_a_turn_creates(dataset, document):
    later, refused_id, there = (f"{digit * 8}-0000-4000-8000-00000000000A" for digit in "ABC")
    seeds = {"Contact": {later: {"title": "x"}, refused_id: {}}, "Client": {there: {"name": "x"}}}
    create = {"contact_id": later.lower(), "client_id": there, "first_name": "A", "last_name": "B"}
    creates = turn(1, expected_tool="create_new_contact", expected_args=create)
    refused = turn(
        2,
        expected_tool="create_new_contact",
        expected_args={"contact_id": refused_id},
        expect_success=False,
    )
    path = dataset(document("a", turns=[creates, refused], initial_entities={"seed_data": seeds}))
    fact = audit(path, created_ids=created_ids).seeds_created_later
    assert fact.counts == {"Contact": 1}
    assert fact.examples == [f"a: Contact {later} is created by turn 1"]
    assert audit(path).seeds_created_later.total == 0


def test_replay_is_asked_about_every_conversation(dataset, document):
    asked = []

    wrong = {
        "b": ReplayFinding(conversation_id="b", turn_id=2, reason="Client not found."),
        "c": ReplayFinding(conversation_id="c", reason="No client to point to."),
    }

    def replay(records):
        asked.append([record.conversation_id for record in records])
        return [wrong.get(record.conversation_id) for record in records]

    many = [document(f"more-{number}") for number in range(REPLAYED_AT_ONCE)]
    report = audit(dataset(document("a"), document("b"), document("c"), *many), replay=replay)
    assert [len(batch) for batch in asked] == [REPLAYED_AT_ONCE, 3]
    assert asked[0][:3] == ["a", "b", "c"]
    assert report.replayed is True
    assert report.ground_truth_failures.total == 2
    assert report.ground_truth_failures.counts == {"seeds": 1, "turn 2": 1}
    assert report.ground_truth_failures.examples == [
        "b: turn 2: Client not found.",
        "c: seeds: No client to point to.",
    ]


def test_malformed_lines_are_all_reported_and_nothing_is_replayed(dataset, document):
    asked = []
    path = dataset(document("a"), b"x", document("b"), b"y")
    with pytest.raises(DatasetError) as caught:
        audit(path, replay=asked.append)  # type: ignore[arg-type]
    assert [found.line for found in caught.value.findings] == [2, 4]
    assert asked == []


def test_an_empty_dataset_has_no_audit(dataset):
    with pytest.raises(DatasetError, match="contains no conversation"):
        audit(dataset(b""))


def test_memory_does_not_grow_with_what_never_repeats(dataset, document):
    lines = [
        document(f"c-{n}", workflow_category=f"w-{n}", turns=[turn(1, user_utterance=f"{{p_{n}}}")])
        for n in range(MAX_KEYS + 50)
    ]
    report = audit(dataset(*lines))
    assert len(report.by_workflow) == MAX_KEYS + 1
    assert report.by_workflow[OTHER] == 50
    assert report.unfillable_placeholders.total == MAX_KEYS + 50
    assert len(report.unfillable_placeholders.counts) == MAX_KEYS + 1
    assert len(report.unfillable_placeholders.examples) == EXAMPLES


def test_the_real_evaluation_set(corpus):
    report = audit_dataset(corpus / "clbench_eval.jsonl", seed_fields=FIELDS)
    assert report.unfillable_placeholders.counts["{criteria}"] == 91
    assert report.unfillable_placeholders.total == 205
    assert report.unreproducible_replies.total == 645
    assert report.references == 368
    assert report.ignored_seed_fields.total == 0


def test_the_real_datasets_have_no_misspelled_keys_and_no_unread_seeds(corpus):
    for name in ("clbench_eval", "clbench_chains_enriched", "clbench_chains_failures"):
        report = audit(corpus / f"{name}.jsonl", seed_fields=FIELDS)
        assert (report.misspelled_keys.total, report.unread_seeds.total) == (0, 0)


def test_the_real_chains(corpus):
    report = audit_dataset(
        corpus / "clbench_chains_enriched.jsonl", seed_fields=FIELDS, created_ids=created_ids
    )
    assert report.ignored_seed_fields.counts == {
        "Quote.total": 10,
        "Client.notes": 4,
        "Client.primary_contact_id": 4,
    }
    assert report.seeds_created_later.counts == {"Contact": 12, "Opportunity": 7, "Quote": 5}
    assert report.chains == 56
