"""Seeds: the defaults that existing runs rely on, and what cannot be made valid."""

from __future__ import annotations

from typing import Any

import pytest

from crm_assets.crm import (
    ENTITIES,
    SEED_ORDER,
    Sandbox,
    SeedError,
    created_ids,
    make_seed_rows,
    seed_fields,
)
from tests.crm.samples import (
    CLIENT_A,
    CLIENT_B,
    COMPANY_A,
    CONTACT_A,
    CONTRACT_A,
    DOCUMENT_A,
    NOBODY,
    NOTE_A,
    OPPORTUNITY_A,
    OPPORTUNITY_B,
    QUOTE_A,
    SEED_DATA,
    conversation,
)

CLIENT = {CLIENT_A: {"name": "Acme"}}
OPPORTUNITY = {OPPORTUNITY_A: {"client_id": CLIENT_A, "name": "O", "stage": "Proposal", "amount": 5}}


def planned(seed_data: Any, entity: str) -> list[dict[str, Any]]:
    return make_seed_rows(conversation(seed_data))[entity]


def stored(sandbox: Sandbox, seed_data: Any, table: str) -> list[dict[str, Any]]:
    """The rows as a session finds them, so that what is planned can also be inserted."""
    with sandbox.begin(make_seed_rows(conversation(seed_data))) as session:
        return session.rows()[table]


def problem(seed_data: Any) -> str:
    with pytest.raises(SeedError) as caught:
        make_seed_rows(conversation(seed_data))
    return str(caught.value)


def test_no_seeds() -> None:
    assert make_seed_rows(conversation()) == {}
    assert make_seed_rows(conversation({})) == {}
    assert make_seed_rows(conversation({"Client": {}})) == {}
    assert make_seed_rows(conversation({"Client": None})) == {}


def test_every_entity_in_order_and_whole(sandbox: Sandbox) -> None:
    shuffled = {name: SEED_DATA[name] for name in sorted(SEED_DATA)}
    plan = make_seed_rows(conversation(shuffled))
    assert list(plan) == [entity.name for entity in SEED_ORDER]
    assert list(plan) == [
        "Client",
        "Contact",
        "Opportunity",
        "Quote",
        "Contract",
        "Document",
        "Note",
        "Company",
    ]
    with sandbox.begin(plan) as session:
        rows = session.rows()
    for name, seeded in SEED_DATA.items():
        entity = ENTITIES[name]
        found = {row[entity.id_field]: row for row in rows[entity.table]}
        assert set(found) == set(seeded)
        for identifier, fields in seeded.items():
            assert {key: found[identifier][key] for key in fields} == fields


def test_seeds_keep_the_order_of_the_conversation(sandbox: Sandbox) -> None:
    ids = [f"00000000-0000-4000-8000-{number:012x}" for number in (9, 3, 7, 1, 5)]
    seeds = make_seed_rows(conversation({"Client": {key: {"name": "N"} for key in ids}}))
    with sandbox.begin(seeds) as session:
        assert [row["client_id"] for row in session.call("client_search", {})] == ids


def test_client_defaults(sandbox: Sandbox) -> None:
    (row,) = stored(sandbox, {"Client": CLIENT}, "clients")
    assert (row["status"], row["industry"], row["owner"]) == ("Active", "Technology", "Unassigned Owner")
    assert row["created_date"] is not None
    given = {"name": "A", "status": "Inactive", "industry": "Retail", "owner": "Ann"}
    (row,) = stored(sandbox, {"Client": {CLIENT_A: given}}, "clients")
    assert {key: row[key] for key in given} == given


@pytest.mark.parametrize("status", [None, "", "active", "Nonsense", 5, ["Active"]])
def test_an_unknown_client_status_is_active(status: Any) -> None:
    assert (
        planned({"Client": {CLIENT_A: {"name": "A", "status": status}}}, "Client")[0]["status"] == "Active"
    )


@pytest.mark.parametrize("pointer", [{}, {"client_id": None}, {"client_id": NOBODY}, {"client_id": "c-1"}])
def test_without_a_client_that_is_there_the_first_one_is_taken(
    sandbox: Sandbox, pointer: dict[str, Any]
) -> None:
    clients = {CLIENT_B: {"name": "First"}, CLIENT_A: {"name": "Second"}}
    contact = {"first_name": "A", "last_name": "B", **pointer}
    opportunity = {"name": "O", "stage": "Proposal", "amount": 5, **pointer}
    data = {
        "Contact": {CONTACT_A: contact},
        "Opportunity": {OPPORTUNITY_A: opportunity},
        "Client": clients,
    }
    assert stored(sandbox, data, "contacts")[0]["client_id"] == CLIENT_B
    assert stored(sandbox, data, "opportunities")[0]["client_id"] == CLIENT_B


def test_a_client_that_is_there_is_kept(sandbox: Sandbox) -> None:
    data = {
        "Client": {CLIENT_A: {"name": "A"}, CLIENT_B: {"name": "B"}},
        "Contact": {CONTACT_A: {"first_name": "A", "last_name": "B", "client_id": CLIENT_B.upper()}},
    }
    assert stored(sandbox, data, "contacts")[0]["client_id"] == CLIENT_B


@pytest.mark.parametrize("stage", [None, "", "proposal", "Closed", "Closed-Won", "Closed-Lost", 5])
def test_a_stage_that_is_missing_unknown_or_closed_is_qualification(stage: Any) -> None:
    fields = {"name": "O", "amount": 5, "stage": stage}
    data = {"Client": CLIENT, "Opportunity": {OPPORTUNITY_A: fields}}
    assert planned(data, "Opportunity")[0]["stage"] == "Qualification"


@pytest.mark.parametrize("stage", ["Prospecting", "Qualification", "Proposal", "Negotiation"])
def test_an_open_stage_is_kept(stage: str) -> None:
    data = {"Client": CLIENT, "Opportunity": {OPPORTUNITY_A: {"name": "O", "amount": 5, "stage": stage}}}
    assert planned(data, "Opportunity")[0]["stage"] == stage


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0, 1),
        (100, 99),
        (-5, 1),
        (1000, 99),
        (1, 1),
        (99, 99),
        (55.5, 55),
        ("60", 60),
        ("150", 99),
        (1e300, 99),
    ],
)
def test_probability_is_held_to_1_to_99(given: Any, kept: int) -> None:
    fields = {"name": "O", "amount": 5, "probability": given}
    data = {"Client": CLIENT, "Opportunity": {OPPORTUNITY_A: fields}}
    assert planned(data, "Opportunity")[0]["probability"] == kept


def test_a_missing_probability_stays_missing(sandbox: Sandbox) -> None:
    data = {"Client": CLIENT, "Opportunity": OPPORTUNITY}
    assert stored(sandbox, data, "opportunities")[0]["probability"] is None


def test_quote_defaults(sandbox: Sandbox) -> None:
    data = {"Client": CLIENT, "Opportunity": OPPORTUNITY}
    quote = {"opportunity_id": OPPORTUNITY_A, "amount": 5}
    (row,) = stored(sandbox, {**data, "Quote": {QUOTE_A: quote}}, "quotes")
    assert (row["status"], row["name"]) == ("Draft", f"Quote {QUOTE_A[:8]}")
    (row,) = stored(sandbox, {**data, "Quote": {QUOTE_A: {**quote, "status": "Cancelled"}}}, "quotes")
    assert row["status"] == "Draft"
    given = {**quote, "status": "Canceled", "name": "Mine"}
    (row,) = stored(sandbox, {**data, "Quote": {QUOTE_A: given}}, "quotes")
    assert (row["status"], row["name"]) == ("Canceled", "Mine")


def test_contract_defaults(sandbox: Sandbox) -> None:
    (row,) = stored(
        sandbox, {"Client": CLIENT, "Contract": {CONTRACT_A: {"client_id": CLIENT_A}}}, "contracts"
    )
    assert (row["status"], row["value"], row["opportunity_id"]) == ("Active", 75_000, None)
    given = {"client_id": CLIENT_A, "status": "Expired", "value": 1.5}
    (row,) = stored(sandbox, {"Client": CLIENT, "Contract": {CONTRACT_A: given}}, "contracts")
    assert (row["status"], row["value"]) == ("Expired", 1.5)


def test_company_contacts_default_to_none(sandbox: Sandbox) -> None:
    (row,) = stored(sandbox, {"Company": {COMPANY_A: {"name": "C", "type": "Partner"}}}, "companies")
    assert row["contacts"] == []


def test_numbers_that_are_spelled_as_text(sandbox: Sandbox) -> None:
    fields = {"name": "O", "amount": " 1234.50 ", "probability": "40"}
    data = {"Client": CLIENT, "Opportunity": {OPPORTUNITY_A: fields}}
    (row,) = stored(sandbox, data, "opportunities")
    assert (row["amount"], row["probability"]) == (1234.5, 40)


def test_unknown_fields_are_ignored_and_nulls_are_gaps(sandbox: Sandbox) -> None:
    fields = {"name": "A", "email": None, "tier": "gold", "seq": 7, "client_id": "other", "industry": None}
    (row,) = stored(sandbox, {"Client": {CLIENT_A: fields}}, "clients")
    assert row["client_id"] == CLIENT_A
    assert row["industry"] == "Technology"
    assert "tier" not in row


def test_two_clients_with_one_email_are_fine(sandbox: Sandbox) -> None:
    data = {
        "Client": {CLIENT_A: {"name": "A", "email": "x@y.z"}, CLIENT_B: {"name": "B", "email": "X@y.z"}}
    }
    assert len(stored(sandbox, data, "clients")) == 2


def test_an_address_in_a_seed_is_what_it_is(sandbox: Sandbox) -> None:
    assert (
        stored(sandbox, {"Client": {CLIENT_A: {"name": "A", "email": "n/a"}}}, "clients")[0]["email"]
        == "n/a"
    )


def test_text_is_trimmed_and_sql_is_text(sandbox: Sandbox) -> None:
    data = {"Client": {CLIENT_A: {"name": "  '); DROP TABLE clients; -- ", "owner": "a\\b%"}}}
    (row,) = stored(sandbox, data, "clients")
    assert (row["name"], row["owner"]) == ("'); DROP TABLE clients; --", "a\\b%")


# ------------------------------------------------ rows that a turn creates later


def creating(identifier: Any, *, expect_success: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "turn_id": 1,
            "user_utterance": "?",
            "expected_tool": "create_new_client",
            "expected_args": {
                "client_id": identifier,
                "name": "A",
                "email": "a@b.example",
                "status": "Active",
            },
            "expect_success": expect_success,
        }
    ]


@pytest.mark.parametrize(
    ("seed", "turn"),
    [
        (CLIENT_A, CLIENT_A),
        (CLIENT_A.upper(), CLIENT_A),
        (CLIENT_A, CLIENT_A.upper()),
        (f" {CLIENT_A} ", CLIENT_A),
    ],
)
def test_a_row_that_a_turn_creates_is_left_out(seed: str, turn: str) -> None:
    talk = conversation({"Client": {seed: {"name": "A"}, CLIENT_B: {"name": "B"}}}, creating(turn))
    assert created_ids(talk) == {("Client", CLIENT_A): 1}
    assert [row["client_id"] for row in make_seed_rows(talk)["Client"]] == [CLIENT_B]


def test_a_row_whose_creation_is_expected_to_fail_stays() -> None:
    talk = conversation({"Client": {CLIENT_A: {"name": "A"}}}, creating(CLIENT_A, expect_success=False))
    assert created_ids(talk) == {}
    assert [row["client_id"] for row in make_seed_rows(talk)["Client"]] == [CLIENT_A]


@pytest.mark.parametrize("identifier", [None, "{{turn_1.client_id}}", 5, "x"])
def test_only_given_uuids_count_as_created(identifier: Any) -> None:
    assert created_ids(conversation({}, creating(identifier))) == {}


def test_a_pointer_at_a_row_that_is_left_out_is_filled_as_if_it_were_not_there() -> None:
    data = {
        "Client": {CLIENT_A: {"name": "A"}, CLIENT_B: {"name": "B"}},
        "Contact": {CONTACT_A: {"first_name": "A", "last_name": "B", "client_id": CLIENT_A}},
    }
    plan = make_seed_rows(conversation(data, creating(CLIENT_A)))
    assert plan["Contact"][0]["client_id"] == CLIENT_B


# --------------------------------------------------- what cannot be made valid

NO_TEXT = "is not valid (Client owner must"
NO_AMOUNT = "is not valid (Opportunity amount must"
NO_CHANCE = "is not valid (Probability must be a whole number from 1 to 99)"
NO_OPPORTUNITY = f"points at Opportunity '{NOBODY}', which is not a seed"


def opportunity(**fields: Any) -> dict[str, Any]:
    return {"name": "O", "amount": 5, **fields}


@pytest.mark.parametrize(
    ("entity", "identifier", "fields", "field", "reason"),
    [
        ("Client", "c-1", {"name": "A"}, "client_id", "must be a valid UUID"),
        ("Client", CLIENT_A, {}, "name", "is missing"),
        ("Client", CLIENT_A, {"name": None}, "name", "is missing"),
        ("Client", CLIENT_A, {"name": " "}, "name", "is not valid (Client name must not be blank)"),
        ("Client", CLIENT_A, {"name": 5}, "name", "is not valid (Client name must be text)"),
        (
            "Client",
            CLIENT_A,
            {"name": "A", "owner": "\x00"},
            "owner",
            f"{NO_TEXT} not hold NUL characters)",
        ),
        (
            "Client",
            CLIENT_A,
            {"name": "A", "owner": "\ud800"},
            "owner",
            f"{NO_TEXT} be valid Unicode text)",
        ),
        (
            "Client",
            CLIENT_A,
            {"name": "A", "created_date": "then"},
            "created_date",
            "is not valid (Client created date must be a valid ISO-8601 date and time)",
        ),
        ("Client", CLIENT_A, ["name"], "client_id", "must come with an object of fields"),
        ("Contact", CONTACT_A, {"first_name": "A", "client_id": CLIENT_B}, "last_name", "is missing"),
        ("Opportunity", OPPORTUNITY_B, {"name": "O"}, "amount", "is missing"),
        (
            "Opportunity",
            OPPORTUNITY_B,
            opportunity(amount=0),
            "amount",
            f"{NO_AMOUNT} be greater than zero)",
        ),
        ("Opportunity", OPPORTUNITY_B, opportunity(amount="a lot"), "amount", f"{NO_AMOUNT} be a number)"),
        ("Opportunity", OPPORTUNITY_B, opportunity(amount="NaN"), "amount", f"{NO_AMOUNT} be a number)"),
        (
            "Opportunity",
            OPPORTUNITY_B,
            opportunity(amount="1e9999999"),
            "amount",
            f"{NO_AMOUNT} not exceed 10,000,000)",
        ),
        ("Opportunity", OPPORTUNITY_B, opportunity(probability="NaN"), "probability", NO_CHANCE),
        ("Opportunity", OPPORTUNITY_B, opportunity(probability="sNaN"), "probability", NO_CHANCE),
        ("Opportunity", OPPORTUNITY_B, opportunity(probability=True), "probability", NO_CHANCE),
        (
            "Opportunity",
            OPPORTUNITY_B,
            opportunity(close_date="soon"),
            "close_date",
            "is not valid (Close date must be a valid ISO-8601 date (YYYY-MM-DD))",
        ),
        ("Quote", QUOTE_A, {"amount": 5}, "opportunity_id", "is missing"),
        (
            "Quote",
            QUOTE_A,
            {"amount": 5, "opportunity_id": "o-1"},
            "opportunity_id",
            "is not valid (Opportunity not found with ID 'o-1')",
        ),
        ("Quote", QUOTE_A, {"amount": 5, "opportunity_id": NOBODY}, "opportunity_id", NO_OPPORTUNITY),
        ("Contract", CONTRACT_A, {"opportunity_id": NOBODY}, "opportunity_id", NO_OPPORTUNITY),
        (
            "Document",
            DOCUMENT_A,
            {"entity_type": "Client", "entity_id": NOBODY, "file_name": "a.pdf"},
            "entity_id",
            f"points at Client '{NOBODY}', which is not a seed",
        ),
        (
            "Document",
            DOCUMENT_A,
            {"entity_type": "Client", "entity_id": CLIENT_B, "file_name": "a.exe"},
            "file_name",
            "is not valid (Document file extension '.exe' is not supported (allowed: csv, doc, docx, key, "
            "pdf, ppt, pptx, txt, xlsx))",
        ),
        (
            "Note",
            NOTE_A,
            {"entity_type": "Company", "entity_id": CLIENT_B, "content": "x"},
            "entity_type",
            "is not valid (Note entity type must be one of: Opportunity, Client, Contact, Quote, Contract)",
        ),
        (
            "Company",
            COMPANY_A,
            {"name": "C", "type": "Friend"},
            "type",
            "is not valid (Company type must be one of: Partner, Vendor, Competitor)",
        ),
        (
            "Company",
            COMPANY_A,
            {"name": "C", "type": "Vendor", "contacts": "Jo"},
            "contacts",
            "is not valid (Company contacts must be a list of texts)",
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_an_invalid_seed_names_conversation_entity_id_and_field(
    entity: str, identifier: str, fields: Any, field: str, reason: str
) -> None:
    data: dict[str, Any] = {"Client": {CLIENT_B: {"name": "B"}}, "Opportunity": {}}
    if entity != "Opportunity":
        data["Opportunity"] = {OPPORTUNITY_A: opportunity()}
    data.setdefault(entity, {})
    data[entity] = {**data[entity], identifier: fields}
    assert problem(data) == f"Conversation 'conv-1': seed {entity} '{identifier}': {field} {reason}."


def test_without_any_client_nothing_can_be_filled() -> None:
    fields = {"first_name": "A", "last_name": "B"}
    assert "client_id is missing" in problem({"Contact": {CONTACT_A: fields}})
    assert "points at Client" in problem({"Contact": {CONTACT_A: {**fields, "client_id": NOBODY}}})


def test_one_id_twice_in_two_spellings() -> None:
    data = {"Client": {CLIENT_A: {"name": "A"}, CLIENT_A.upper(): {"name": "B"}}}
    assert (
        problem(data) == f"Conversation 'conv-1': seed Client '{CLIENT_A.upper()}': client_id occurs twice."
    )


def test_an_unknown_entity_is_named_with_the_known_ones() -> None:
    assert problem({"Lead": {CLIENT_A: {}}}) == (
        "Conversation 'conv-1': unknown entity 'Lead' in the seeds; use one of Client, Contact, "
        "Opportunity, Quote, Contract, Document, Note, Company."
    )


def test_seed_fields_are_the_entities_fields() -> None:
    assert set(seed_fields()) == set(ENTITIES)
    for name, fields in seed_fields().items():
        assert fields == set(ENTITIES[name].fields)


def test_a_row_of_another_entity_under_the_same_id_stays():
    seeds = {"Company": {CLIENT_A: {"name": "Acme", "type": "Partner"}}}
    assert "Company" in make_seed_rows(conversation(seeds, creating(CLIENT_A)))
