from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from uuid import UUID

import pytest

from crm_assets.conversations import (
    audit,
    check_dataset,
    find_references,
    load_conversations,
    normalize_reply,
    unreproducible_values,
)
from crm_assets.conversations.patterns import strings_in
from crm_assets.crm import tool_names
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.generator import generate, write_dataset
from crm_assets.generator.refusals import REFUSALS
from crm_assets.generator.rng import SeededRng
from crm_assets.generator.scenarios import TURN_TEMPLATES
from tests.conversations.conftest import ROOT

TOOLS = frozenset(
    {
        "create_new_client",
        "create_new_contact",
        "create_new_opportunity",
        "create_quote",
        "create_contract",
        "upload_document",
        "add_note",
        "modify_client",
        "modify_contact",
        "modify_opportunity",
        "modify_quote",
        "clone_opportunity",
        "cancel_quote",
        "delete_opportunity",
        "delete_quote",
        "view_opportunity_details",
        "opportunity_details",
        "quote_details",
        "compare_quotes",
        "compare_quote_details",
        "client_search",
        "contact_search",
        "opportunity_search",
        "quote_search",
        "contract_search",
        "company_search",
        "summarize_opportunities",
        "quote_prefixes",
    }
)
WORKFLOWS = {
    "Client Management",
    "Opportunity Management",
    "Quote Management",
    "Contract Management",
    "Contact Management",
    "Document Management",
    "Notes & Collaboration",
    "Company / Account Management",
    "General",
}
FIELDS = {
    "Client": "client_id name industry email phone address status created_date owner",
    "Contact": "contact_id first_name last_name title email phone client_id notes",
    "Opportunity": "opportunity_id client_id name stage amount close_date owner probability notes "
    "created_at",
    "Quote": "quote_id opportunity_id name version amount status valid_until created_date quote_prefix",
    "Contract": "contract_id client_id opportunity_id start_date end_date value status document_url",
    "Company": "company_id name type industry address contacts",
    "Document": "document_id entity_type entity_id file_name uploaded_by uploaded_at file_url",
    "Note": "note_id entity_type entity_id content created_by created_at",
}
STREAM = [705, 616, 123, 915, "a", ["c", "e", "b"]]
SHIPPED = {"dev": (60, 7), "demo": (200, 11)}


@pytest.fixture(scope="module")
def many():
    return list(generate(500, 3))


@pytest.fixture(scope="module")
def turns(many):
    return [turn for record in many for turn in record.turns]


def test_the_same_seed_gives_the_same_conversations(many):
    assert list(generate(40, 3)) == many[:40]


def test_a_conversation_does_not_depend_on_how_many_there_are(many):
    assert list(islice(generate(10**9, 3), 25)) == many[:25]


def test_another_seed_gives_others(many):
    others = list(generate(40, 4))
    assert {record.conversation_id for record in others}.isdisjoint(r.conversation_id for r in many)
    assert all(a.turns != b.turns for a, b in zip(others, many, strict=False))


def test_bytes_do_not_depend_on_the_process(tmp_path):
    digests = set()
    for hash_seed in ("1", "2"):
        path = tmp_path / f"{hash_seed}.jsonl"
        code = (
            "import sys; from crm_assets.generator import write_dataset;write_dataset(sys.argv[1], 30, 5)"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(path)], check=True, cwd=ROOT, env={"PYTHONHASHSEED": hash_seed}
        )
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_stream_of_choices_is_fixed():
    rng = SeededRng("7/0")
    drawn = [rng.randrange(1000) for _ in range(4)] + [rng.choice("abcdef"), rng.sample("abcdef", 3)]
    assert drawn == STREAM


def test_what_is_written_is_well_formed_and_complete(tmp_path):
    path, seen = tmp_path / "g.jsonl", []
    assert write_dataset(path, 1200, 9, progress=seen.append) == 1200
    assert seen == [1000, 1200]
    assert check_dataset(path, known_tools=TOOLS).count == 1200
    assert list(load_conversations(path)) == list(generate(1200, 9))


def test_the_audit_finds_nothing_to_complain_about(tmp_path):
    path = tmp_path / "g.jsonl"
    write_dataset(path, 300, 2)
    report = audit(path, seed_fields={name: frozenset(text.split()) for name, text in FIELDS.items()})
    for fact in (
        report.unfillable_placeholders,
        report.unreproducible_replies,
        report.duplicate_ids,
        report.misspelled_keys,
        report.unread_seeds,
        report.ignored_seed_fields,
        report.seeds_created_later,
    ):
        assert fact.total == 0, fact
    assert report.references > 300


@pytest.mark.parametrize("count", [0, -1])
def test_nothing_cannot_be_generated(tmp_path, count):
    path = tmp_path / "g.jsonl"
    with pytest.raises(InputError, match="at least 1"):
        write_dataset(path, count, 1)
    assert not path.exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "g.jsonl"
    path.write_text("old")

    def stop(written):
        raise OSError(28, "No space left on device")

    with pytest.raises(InfrastructureError, match="No space left"):
        write_dataset(path, 1000, 1, progress=stop)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["g.jsonl"]


def test_every_tool_of_the_crm_has_a_turn():
    assert set(TURN_TEMPLATES) == tool_names() == TOOLS


@pytest.mark.parametrize("start", [0, 13, 100])
def test_any_28_conversations_in_a_row_show_every_tool(many, start):
    window = many[start : start + 28]
    assert {turn.expected_tool for record in window for turn in record.turns} == TOOLS


def test_complexity_follows_from_the_number_of_turns(many):
    for record in many:
        count = len(record.turns)
        assert record.complexity_level == (
            "simple" if count <= 2 else "medium" if count <= 5 else "complex"
        )
        if not record.chain_id:
            assert count <= 11
    assert set(Counter(record.complexity_level for record in many)) == {"simple", "medium", "complex"}


def test_workflows_are_those_of_the_evaluation_set(many):
    plain = {record.workflow_category for record in many if not record.chain_id}
    assert plain == WORKFLOWS
    for record in many:
        assert record.workflow_category.startswith("Chained: ") == bool(record.chain_id)


def test_chains_tell_their_segments(many):
    chains = [record for record in many if record.chain_id]
    assert len(chains) > 50
    for record in chains:
        summaries = record.cumulative_context["segment_summaries"]
        assert len(summaries) == len(record.segment_boundaries) >= 2
        assert record.segment_boundaries[-1] == len(record.turns)
        start = 1
        for number, (summary, end) in enumerate(zip(summaries, record.segment_boundaries, strict=True), 1):
            inside = [turn for turn in record.turns if start <= turn.turn_id <= end]
            failed = [turn.turn_id for turn in inside if not turn.expect_success]
            assert summary == {
                "segment_number": number,
                "workflow_category": summary["workflow_category"],
                "expected_outcome": "failure" if failed else "success",
                "turn_range": {"start": start, "end": end},
                "failure_turn": failed[0] if failed else None,
            }
            assert summary["workflow_category"] in WORKFLOWS
            assert {record.segment_of(turn.turn_id) for turn in inside} == {number}
            start = end + 1


def test_every_kind_of_failure_is_asked_for(many):
    seen = Counter()
    for record in many:
        failing = [turn for turn in record.turns if not turn.expect_success]
        assert record.contains_failure == bool(failing)
        assert record.failure_turn == (failing[0].turn_id if failing else None)
        for turn in failing:
            assert turn.expected_error_substring
            assert turn.expected_response is None
            seen[turn.failure_category] += 1
    # An unknown ID is asked for in two ways.
    assert len(seen) == len(REFUSALS) - 1
    assert sum(seen.values()) == len(many) // 4


def test_turns_that_succeed_have_no_error(turns):
    for turn in turns:
        if turn.expect_success:
            assert (turn.expected_error_substring, turn.failure_category) == (None, None)


def test_replies_can_be_scored_and_some_turns_have_none(many):
    silent = scored = 0
    for record in many:
        for turn in record.turns:
            reply = turn.expected_response
            if reply is None:
                silent += turn.expect_success
                continue
            scored += 1
            assert reply.evaluation == "structured"
            assert reply.answers == (reply.text,)
            assert not reply.requires_judge
            assert not unreproducible_values(record, reply.text)
            assert not re.search(r"[{}]|None|null", reply.text)
            assert normalize_reply(reply.text)
    assert scored > 5 * silent > 0


def test_references_are_listed_and_used_widely(turns):
    for turn in turns:
        found = {found.turn for found in find_references([turn.user_utterance, turn.expected_args])}
        assert turn.references_previous_turns == tuple(sorted(found))
    fields = Counter(found.field for turn in turns for found in find_references(turn.expected_args))
    assert {"client_id", "contact_id", "opportunity_id", "quote_id", "contract_id"} <= set(fields)
    assert fields["amount"] > 0


def test_no_reference_names_a_turn_that_fails(many):
    for record in many:
        failing = {turn.turn_id for turn in record.turns if not turn.expect_success}
        for turn in record.turns:
            assert failing.isdisjoint(turn.references_previous_turns)


def test_the_user_says_all_that_the_arguments_hold(turns):
    for turn in turns:
        for value in leaves(turn.expected_args):
            assert is_said(value, turn.user_utterance), (turn.user_utterance, turn.expected_args)


def test_there_are_many_ways_to_ask_for_each_tool(many):
    forms = {tool: set() for tool in TOOLS}
    for record in generate(2500, 1):
        for turn in record.turns:
            words = re.sub(r'\{\{[^}]*\}\}|"[^"]*"|[A-Z][\w-]*|[\d,.$%-]+', "", turn.user_utterance)
            forms[turn.expected_tool].add(" ".join(words.split()))
    assert {tool: len(found) for tool, found in forms.items() if len(found) < 6} == {}


def test_seeds_are_complete_and_point_to_each_other(many):
    entities = Counter()
    for record in many:
        rows = {row_id: entity for entity, found in record.seed_data.items() for row_id in found}
        emails = [fields["email"] for fields in record.seed_data["Client"].values()]
        assert len(set(emails)) == len(emails) >= 2
        for row_id, entity in rows.items():
            assert UUID(row_id).version == 4
            fields = record.seed_data[entity][row_id]
            entities[entity] += 1
            assert not set(fields) - set(FIELDS[entity].split())
            assert all(value not in (None, "") for value in fields.values())
            for name in ("client_id", "opportunity_id"):
                if name in fields:
                    assert (
                        rows[fields[name]] == {"client_id": "Client", "opportunity_id": "Opportunity"}[name]
                    )
            if "entity_id" in fields:
                assert rows[fields["entity_id"]] == fields["entity_type"]
            if entity == "Opportunity":
                assert fields["stage"] in ("Prospecting", "Qualification", "Proposal", "Negotiation")
                assert 1 <= fields["probability"] <= 99
                assert 0 < fields["amount"] <= 10_000_000
    assert set(entities) == set(FIELDS)


def test_dates_do_not_rot(many):
    for record in many:
        texts = [*strings_in(record.seed_data)]
        texts += [text for turn in record.turns for text in strings_in(turn.expected_args)]
        for text in texts:
            for year in re.findall(r"\b(\d{4})-\d\d-\d\d\b", text):
                assert 2001 <= int(year) <= 2020 or 2035 <= int(year) <= 2039, text


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_shipped_datasets_are_the_generators(name, tmp_path):
    count, seed = SHIPPED[name]
    write_dataset(tmp_path / "again.jsonl", count, seed)
    shipped = ROOT / "data" / "conversations" / f"{name}.jsonl"
    assert shipped.read_bytes() == (tmp_path / "again.jsonl").read_bytes()


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_shipped_datasets_show_everything(name):
    records = list(load_conversations(ROOT / "data" / "conversations" / f"{name}.jsonl"))
    assert len(records) == SHIPPED[name][0]
    assert {turn.expected_tool for record in records for turn in record.turns} == TOOLS
    assert {record.complexity_level for record in records} == {"simple", "medium", "complex"}
    assert any(record.chain_id for record in records)
    assert sum(record.contains_failure for record in records) == len(records) // 4


def leaves(value):
    """Every value in the arguments that is no container, with the key it goes by."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def is_said(value, utterance):
    if isinstance(value, str):
        return value.strip().lower() in utterance.lower() and (value.strip() or "blank" in utterance)
    forms = {f"{value}", f"{value:,}", f"{value:.2f}", f"{value:,.2f}"}
    return any(re.search(rf"(?<![\d,.]){re.escape(form)}(?![\d])", utterance) for form in forms)
