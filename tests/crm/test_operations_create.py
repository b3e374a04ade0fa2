"""Creating: defaults, given IDs, duplicates, and what a new row may point at."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from crm_assets.crm import TOOLS, Sandbox, SeedRows, Session
from tests.crm.samples import (
    CLIENT_A,
    CLIENT_B,
    CONTACT_A,
    CONTRACT_A,
    NOBODY,
    OPPORTUNITY_A,
    OPPORTUNITY_B,
    QUOTE_A,
    TODAY,
    error_sentence,
    refusal,
    state_of,
)

NEW_ID = "11111111-2222-4333-8444-555555555555"

CREATES: dict[str, dict[str, Any]] = {
    "create_new_client": {
        "name": "  New ",
        "email": " New@x.example ",
        "status": "Prospect",
        "industry": "Mining",
        "phone": "+1 2",
        "address": "Here 1",
        "owner": "Cy",
        "created_date": "2024-01-02T03:04:05Z",
    },
    "create_new_contact": {
        "first_name": "A",
        "last_name": "B",
        "client_id": CLIENT_A,
        "title": "T",
        "email": "a@b.example",
        "phone": "1",
        "notes": "N",
    },
    "create_new_opportunity": {
        "name": "N",
        "client_id": CLIENT_A,
        "amount": 5.25,
        "stage": "Closed-Won",
        "probability": 99,
        "close_date": "2024-06-01",
        "owner": "Cy",
        "notes": "N",
    },
    "create_quote": {
        "opportunity_id": OPPORTUNITY_A,
        "amount": 5,
        "status": "Approved",
        "name": "Q",
        "version": "v1",
        "valid_until": "2020-01-01",
        "quote_prefix": "US",
    },
    "create_contract": {
        "client_id": CLIENT_A,
        "opportunity_id": OPPORTUNITY_B,
        "status": "Expired",
        "value": 0,
        "start_date": "2024-01-01",
        "end_date": "2025-01-01",
        "document_url": "https://x.example/a b",
    },
    "upload_document": {
        "entity_type": "Client",
        "entity_id": CLIENT_A,
        "file_name": "a.PDF",
        "uploaded_by": "Cy",
        "uploaded_at": "2024-01-02",
        "file_url": "u",
    },
    "add_note": {
        "entity_type": "Contract",
        "entity_id": CONTRACT_A,
        "content": "c",
        "created_by": "Cy",
        "created_at": "2024-01-02T00:00:00+01:00",
    },
}

MOMENTS = {
    "2024-01-02T03:04:05Z": "2024-01-02T03:04:05+00:00",
    "2024-01-02": "2024-01-02T00:00:00+00:00",
    "2024-01-02T00:00:00+01:00": "2024-01-01T23:00:00+00:00",
}


@pytest.mark.parametrize("name", CREATES)
def test_every_argument_reaches_its_field(session: Session, name: str) -> None:
    id_field = TOOLS[name].entity.id_field
    given = {id_field: NEW_ID.upper(), **CREATES[name]}
    stored = session.call(name, given)
    expected = {
        key: MOMENTS.get(value, value.strip()) if isinstance(value, str) else value
        for key, value in {**given, id_field: NEW_ID}.items()
    }
    assert {key: stored[key] for key in expected} == expected


@pytest.mark.parametrize("name", CREATES)
def test_a_given_id_is_kept_and_a_second_row_with_it_is_a_conflict(session: Session, name: str) -> None:
    entity = TOOLS[name].entity
    given = {**CREATES[name], entity.id_field: NEW_ID}
    assert session.call(name, given)[entity.id_field] == NEW_ID
    if name == "create_new_client":
        given["email"] = "other@x.example"
    error = refusal(session, name, **given)
    assert (error.kind, error.message) == ("conflict", f"{entity.name} already exists with ID '{NEW_ID}'.")
    rows = session.rows()[entity.table]
    assert sum(row[entity.id_field] == NEW_ID for row in rows) == 1


@pytest.mark.parametrize("name", CREATES)
def test_an_id_is_generated_where_none_is_given(session: Session, name: str) -> None:
    id_field = TOOLS[name].entity.id_field
    optional = {key: None for key in CREATES[name] if key not in TOOLS[name].json_schema()["required"]}
    first = session.call(name, {**CREATES[name], **optional, id_field: None})
    if name == "create_new_client":
        optional["email"] = "second@x.example"
    second = session.call(name, {**CREATES[name], **optional})
    assert UUID(first[id_field]).version == 4
    assert first[id_field] != second[id_field]


@pytest.mark.parametrize("name", CREATES)
def test_an_own_id_that_is_no_uuid_is_invalid(session: Session, name: str) -> None:
    entity = TOOLS[name].entity
    error = refusal(session, name, **{**CREATES[name], entity.id_field: "C-1"})
    assert (error.kind, error.message) == ("validation", f"{entity.name} ID must be a valid UUID.")


def test_defaults(session: Session) -> None:
    client = session.call("create_new_client", {"name": "N", "email": "n@x.example", "status": "Active"})
    assert [client[key] for key in ("industry", "phone", "address", "owner")] == [None] * 4
    assert client["created_date"] is not None
    opportunity = session.call(
        "create_new_opportunity", {"name": "N", "client_id": CLIENT_A, "amount": 5, "stage": "Proposal"}
    )
    assert [opportunity[key] for key in ("probability", "close_date", "owner", "notes")] == [None] * 4
    assert opportunity["created_at"] is not None
    quote = session.call("create_quote", {"opportunity_id": OPPORTUNITY_A, "amount": 5, "status": "Draft"})
    assert quote["name"] == "Renewal Quote"
    assert quote["created_date"] is not None
    contract = session.call("create_contract", {"client_id": CLIENT_A})
    assert (contract["status"], contract["value"], contract["opportunity_id"]) == ("Pending", None, None)
    document = session.call(
        "upload_document", {"entity_type": "Quote", "entity_id": QUOTE_A, "file_name": "a.pdf"}
    )
    assert document["uploaded_at"] is not None
    note = session.call("add_note", {"entity_type": "Quote", "entity_id": QUOTE_A, "content": "x"})
    assert note["created_at"] is not None


def test_the_quote_s_default_name_follows_the_opportunity_s_present_name(session: Session) -> None:
    session.call("modify_opportunity", {"opportunity_id": OPPORTUNITY_B, "name": "Big % 'deal'"})
    quote = session.call("create_quote", {"opportunity_id": OPPORTUNITY_B, "amount": 5, "status": "Draft"})
    assert quote["name"] == "Big % 'deal' Quote"


@pytest.mark.parametrize("email", ["info@acme.example", "INFO@Acme.Example", " info@acme.example "])
def test_a_second_client_with_an_email_is_refused_whatever_the_case(session: Session, email: str) -> None:
    error = refusal(session, "create_new_client", name="Other", email=email, status="Active")
    assert (error.kind, error.message) == (
        "conflict",
        f"Client already exists with email '{email.strip()}'.",
    )
    assert len(session.call("client_search", {})) == 2


def test_an_email_is_free_again_once_its_client_has_another(session: Session) -> None:
    session.call("modify_client", {"client_id": CLIENT_A, "email": "other@acme.example"})
    client = {"name": "Other", "email": "info@acme.example", "status": "Active"}
    assert session.call("create_new_client", client)["email"] == "info@acme.example"


def test_the_email_rule_is_the_tool_s_and_not_the_table_s(session: Session) -> None:
    changed = session.call("modify_client", {"client_id": CLIENT_B, "email": "info@acme.example"})
    assert changed["email"] == "info@acme.example"


@pytest.mark.parametrize(
    ("days", "allowed"), [(-1, False), (0, True), (1, True), (-365 * 50, False), (365 * 50, True)]
)
def test_close_dates_are_today_or_later(session: Session, days: int, allowed: bool) -> None:
    day = (TODAY + timedelta(days=days)).isoformat()
    given = {
        "name": "N",
        "client_id": CLIENT_A,
        "amount": 5,
        "stage": "Proposal",
        "close_date": day,
    }
    if allowed:
        assert session.call("create_new_opportunity", given)["close_date"] == day
        changed = session.call("modify_opportunity", {"opportunity_id": OPPORTUNITY_A, "close_date": day})
        assert changed["close_date"] == day
    else:
        expected = "Close date must be today or later."
        assert error_sentence(session, "create_new_opportunity", **given) == expected
        assert (
            error_sentence(session, "modify_opportunity", opportunity_id=OPPORTUNITY_A, close_date=day)
            == expected
        )


def test_today_is_the_utc_day_unless_told_otherwise(sandbox: Sandbox, seeds: SeedRows) -> None:
    given = {"name": "N", "client_id": CLIENT_A, "amount": 5, "stage": "Proposal"}
    with sandbox.begin(seeds) as session:
        assert error_sentence(session, "create_new_opportunity", **given, close_date="2024-06-01")
        tomorrow = (date.today() + timedelta(days=2)).isoformat()
        assert session.call("create_new_opportunity", {**given, "close_date": tomorrow})


def test_other_dates_may_be_in_the_past(session: Session) -> None:
    old = "1999-01-01"
    quote = {"opportunity_id": OPPORTUNITY_A, "amount": 5, "status": "Draft", "valid_until": old}
    assert session.call("create_quote", quote)["valid_until"] == old
    contract = session.call("create_contract", {"client_id": CLIENT_A, "start_date": old, "end_date": old})
    assert (contract["start_date"], contract["end_date"]) == (old, old)


@pytest.mark.parametrize(
    ("tool", "changes", "expected"),
    [
        ("create_new_client", {"email": "nobody"}, "Client email must be a valid email address."),
        ("create_new_client", {"name": " "}, "Client name must not be blank."),
        (
            "create_new_client",
            {"status": "active"},
            "Client status must be one of: Active, Prospect, Inactive.",
        ),
        (
            "create_new_client",
            {"status": " Active"},
            "Client status must be one of: Active, Prospect, Inactive.",
        ),
        (
            "create_new_opportunity",
            {"stage": "Won"},
            "Opportunity stage must be one of: Prospecting, Qualification, Proposal, Negotiation, "
            "Closed-Won, Closed-Lost.",
        ),
        ("create_new_opportunity", {"amount": "5"}, "Opportunity amount must be a number."),
        (
            "create_new_opportunity",
            {"amount": 10_000_001},
            "Opportunity amount must not exceed 10,000,000.",
        ),
        (
            "create_new_opportunity",
            {"close_date": "2024-13-01"},
            "Close date must be a valid ISO-8601 date (YYYY-MM-DD).",
        ),
        (
            "create_new_opportunity",
            {"probability": 100},
            "Probability must be a whole number from 1 to 99.",
        ),
        ("create_quote", {"amount": 0}, "Quote amount must be greater than zero."),
        ("create_contract", {"value": -1}, "Contract value must not be negative."),
        (
            "upload_document",
            {"file_name": "x.exe"},
            "Document file extension '.exe' is not supported (allowed: csv, doc, docx, key, pdf, ppt, "
            "pptx, txt, xlsx).",
        ),
        (
            "upload_document",
            {"entity_type": "Contact", "entity_id": CONTACT_A},
            "Document entity type must be one of: Opportunity, Contract, Quote, Client.",
        ),
        ("add_note", {"content": ""}, "Note content must not be blank."),
        (
            "add_note",
            {"entity_type": "Company"},
            "Note entity type must be one of: Opportunity, Client, Contact, Quote, Contract.",
        ),
    ],
)
def test_refused_values(session: Session, tool: str, changes: dict[str, Any], expected: str) -> None:
    before = state_of(session)
    error = refusal(session, tool, **{**CREATES[tool], **changes})
    assert (error.kind, error.message) == ("validation", expected)
    assert state_of(session) == before


@pytest.mark.parametrize(
    "extension", ["csv", "doc", "docx", "key", "pdf", "ppt", "pptx", "txt", "xlsx", "PDF"]
)
def test_documents_of_every_allowed_kind(session: Session, extension: str) -> None:
    given = {"entity_type": "Quote", "entity_id": QUOTE_A, "file_name": f"a-1_b.{extension}"}
    assert session.call("upload_document", given)["file_name"] == f"a-1_b.{extension}"


def test_document_url_fills_file_url(session: Session) -> None:
    given = {"entity_type": "Quote", "entity_id": QUOTE_A, "file_name": "a.pdf", "document_url": "u"}
    assert session.call("upload_document", given)["file_url"] == "u"


def test_the_first_of_two_missing_pointers_is_named(session: Session) -> None:
    error = refusal(session, "create_contract", client_id=NOBODY, opportunity_id=NOBODY)
    assert error.message == f"Client not found with ID '{NOBODY}'."


@pytest.mark.parametrize("text", ["'; DROP TABLE clients; --", "a%b_c\\d", "%s {} $1 ?", "é😀\u202e", '"'])
def test_whatever_stands_in_a_text_is_just_text(session: Session, text: str) -> None:
    for name, arguments in CREATES.items():
        rules = TOOLS[name].entity.fields
        texts = {
            key: text
            for key, value in arguments.items()
            if type(rules[key]).__name__ == "Text" and isinstance(value, str)
        }
        stored = session.call(name, {**arguments, **texts})
        assert {key: stored[key] for key in texts} == texts
        assert texts
    assert len(session.call("client_search", {})) == 3
