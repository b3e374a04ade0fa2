"""Changing, cloning, canceling and deleting."""

from __future__ import annotations

from typing import Any

import pytest

from crm_assets.crm import TOOLS, Session
from tests.crm.samples import (
    CLIENT_A,
    CLIENT_B,
    CONTACT_A,
    CONTRACT_A,
    DOCUMENT_A,
    NOTE_A,
    OPPORTUNITY_A,
    OPPORTUNITY_B,
    QUOTE_A,
    QUOTE_B,
    error_sentence,
    refusal,
    state_of,
)

TARGETS = {
    "modify_client": CLIENT_A,
    "modify_contact": CONTACT_A,
    "modify_opportunity": OPPORTUNITY_A,
    "modify_quote": QUOTE_A,
}
CHANGES: dict[str, dict[str, Any]] = {
    "modify_client": {
        "name": "N",
        "industry": "I",
        "email": "e@x.example",
        "phone": "1",
        "address": "A",
        "status": "Inactive",
        "created_date": "2024-01-01T00:00:00+00:00",
        "owner": "O",
    },
    "modify_contact": {
        "first_name": "F",
        "last_name": "L",
        "title": "T",
        "email": "e@x.example",
        "phone": "1",
        "client_id": CLIENT_B,
        "notes": "N",
    },
    "modify_opportunity": {
        "client_id": CLIENT_B,
        "name": "N",
        "stage": "Closed-Lost",
        "amount": 12.5,
        "close_date": "2025-01-01",
        "owner": "O",
        "probability": 1,
        "notes": "N",
        "created_at": "2024-01-01T00:00:00+00:00",
    },
    "modify_quote": {
        "opportunity_id": OPPORTUNITY_B,
        "name": "N",
        "version": "v9",
        "amount": 12.5,
        "status": "Rejected",
        "valid_until": "2025-01-01",
        "created_date": "2024-01-01T00:00:00+00:00",
        "quote_prefix": "P",
    },
}


def current(session: Session, tool: str) -> dict[str, Any]:
    entity = TOOLS[tool].entity
    (row,) = (row for row in session.rows()[entity.table] if row[entity.id_field] == TARGETS[tool])
    return row


@pytest.mark.parametrize("tool", TARGETS)
def test_every_field_can_be_changed_flat_or_in_updates(session: Session, tool: str) -> None:
    id_field = TOOLS[tool].entity.id_field
    assert set(CHANGES[tool]) == set(TOOLS[tool].entity.fields) - {id_field}
    target = {id_field: TARGETS[tool]}
    flat = session.call(tool, {**target, **CHANGES[tool]})
    assert flat == {**target, **CHANGES[tool]} == current(session, tool)
    others = {row[id_field] for row in session.rows()[TOOLS[tool].entity.table]}
    assert len(others) == len(session.rows()[TOOLS[tool].entity.table])


@pytest.mark.parametrize("tool", TARGETS)
def test_only_what_is_named_changes_and_only_there(session: Session, tool: str) -> None:
    entity = TOOLS[tool].entity
    field = "notes" if "notes" in entity.fields else "name"
    before = state_of(session)
    result = session.call(tool, {entity.id_field: TARGETS[tool], "updates": {field: " changed "}})
    expected = {
        table: [
            {**row, field: "changed"}
            if row.get(entity.id_field) == TARGETS[tool] and table == entity.table
            else row
            for row in rows
        ]
        for table, rows in before.items()
    }
    after = state_of(session)
    assert after == expected
    assert result == current(session, tool)


@pytest.mark.parametrize("tool", TARGETS)
@pytest.mark.parametrize("updates", [{}, None, "absent"])
def test_empty_updates_return_the_entity_unchanged(session: Session, tool: str, updates: Any) -> None:
    before = current(session, tool)
    extra = {} if updates == "absent" else {"updates": updates}
    assert session.call(tool, {TOOLS[tool].entity.id_field: TARGETS[tool], **extra}) == before


@pytest.mark.parametrize("tool", TARGETS)
def test_a_null_in_updates_clears_and_required_fields_cannot_be_cleared(
    session: Session, tool: str
) -> None:
    entity = TOOLS[tool].entity
    target = {entity.id_field: TARGETS[tool]}
    for field in entity.fields:
        if field == entity.id_field:
            continue
        call = {**target, "updates": {field: None}}
        if field in entity.required:
            expected = f"{entity.fields[field].label} must not be empty."
            assert error_sentence(session, tool, **call) == expected
        else:
            assert session.call(tool, call)[field] is None


def test_arguments_win_over_updates(session: Session) -> None:
    call = {"client_id": CLIENT_A, "phone": "flat", "updates": {"phone": "bag", "owner": "bag"}}
    changed = session.call("modify_client", call)
    assert (changed["phone"], changed["owner"]) == ("flat", "bag")


def test_an_unknown_field_changes_nothing(session: Session) -> None:
    before = state_of(session)
    error = refusal(
        session, "modify_opportunity", opportunity_id=OPPORTUNITY_A, updates={"note": "x", "amount": 9}
    )
    assert (error.kind, error.message) == ("validation", "Opportunity has no field named 'note'.")
    assert state_of(session) == before


@pytest.mark.parametrize("stage", ["Closed-Won", "Closed-Lost"])
def test_a_closed_opportunity_is_locked(session: Session, stage: str) -> None:
    target = {"opportunity_id": OPPORTUNITY_A}
    session.call("modify_opportunity", {**target, "stage": stage})
    for field, value in {
        "stage": "Proposal",
        "amount": 5,
        "probability": 50,
        "close_date": "2025-01-01",
    }.items():
        expected = f"Cannot modify {field} of a closed opportunity (its stage is {stage})."
        assert error_sentence(session, "modify_opportunity", **target, **{field: value}) == expected
        error = refusal(session, "modify_opportunity", **target, updates={field: value, "notes": "no"})
        assert (error.kind, error.message) == ("validation", expected)
    assert error_sentence(
        session, "modify_opportunity", **target, updates={"probability": None}
    ).startswith("Cannot modify probability")
    assert (
        error_sentence(session, "modify_opportunity", **target, amount=5, stage="Proposal")
        == f"Cannot modify stage, amount of a closed opportunity (its stage is {stage})."
    )
    changed = session.call("modify_opportunity", {**target, "notes": "yes", "owner": "Z", "name": "M"})
    assert (changed["notes"], changed["owner"], changed["name"]) == ("yes", "Z", "M")
    assert changed["stage"] == stage


def test_the_call_that_closes_may_still_change_the_rest(session: Session) -> None:
    changed = session.call(
        "modify_opportunity", {"opportunity_id": OPPORTUNITY_A, "stage": "Closed-Won", "amount": 77}
    )
    assert (changed["stage"], changed["amount"]) == ("Closed-Won", 77)


@pytest.mark.parametrize(
    ("tool", "updates", "expected"),
    [
        ("modify_client", {"email": "x"}, "Client email must be a valid email address."),
        ("modify_client", {"name": " "}, "Client name must not be blank."),
        ("modify_opportunity", {"probability": 150}, "Probability must be a whole number from 1 to 99."),
        ("modify_opportunity", {"amount": -1}, "Opportunity amount must be greater than zero."),
        ("modify_quote", {"amount": 0}, "Quote amount must be greater than zero."),
        ("modify_quote", {"amount": "600"}, "Quote amount must be a number."),
        (
            "modify_quote",
            {"status": "Cancelled"},
            "Quote status must be one of: Draft, Sent, Approved, Rejected, Canceled.",
        ),
        (
            "modify_quote",
            {"valid_until": "never"},
            "Quote valid until must be a valid ISO-8601 date (YYYY-MM-DD).",
        ),
    ],
)
def test_refused_changes(session: Session, tool: str, updates: dict[str, Any], expected: str) -> None:
    before = current(session, tool)
    id_field = TOOLS[tool].entity.id_field
    error = refusal(session, tool, **{id_field: TARGETS[tool]}, updates=updates)
    assert (error.kind, error.message) == ("validation", expected)
    assert current(session, tool) == before


def test_clone(session: Session) -> None:
    original = session.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A})
    clone = session.call("clone_opportunity", {"opportunity_id": OPPORTUNITY_A})
    assert clone["opportunity_id"] not in (OPPORTUNITY_A, OPPORTUNITY_B)
    assert clone["name"] == "Renewal (Clone)"
    differing = {"opportunity_id", "name", "created_at"}
    assert {key: clone[key] for key in clone if key not in differing} == {
        key: original[key] for key in original if key not in differing
    }
    assert session.call("opportunity_details", {"opportunity_id": clone["opportunity_id"]}) == clone
    assert session.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A}) == original
    assert session.call("quote_search", {"opportunity_id": clone["opportunity_id"]}) == []
    again = session.call("clone_opportunity", {"opportunity_id": clone["opportunity_id"]})
    assert again["name"] == "Renewal (Clone) (Clone)"


def test_cancel_quote(session: Session) -> None:
    before = session.call("quote_details", {"quote_id": QUOTE_A})
    assert session.call("cancel_quote", {"quote_id": QUOTE_A}) == {**before, "status": "Canceled"}
    assert session.call("cancel_quote", {"quote_id": QUOTE_A})["status"] == "Canceled"
    assert session.call("quote_details", {"quote_id": QUOTE_B})["status"] == "Sent"


def test_delete_quote(session: Session) -> None:
    assert session.call("delete_quote", {"quote_id": QUOTE_A}) is True
    assert refusal(session, "delete_quote", quote_id=QUOTE_A).kind == "not_found"
    assert [quote["quote_id"] for quote in session.call("quote_search", {})] == [QUOTE_B]


def test_deleting_an_opportunity_removes_its_quotes_and_clears_it_on_contracts(session: Session) -> None:
    other = session.call("create_quote", {"opportunity_id": OPPORTUNITY_B, "amount": 5, "status": "Draft"})
    assert session.call("delete_opportunity", {"opportunity_id": OPPORTUNITY_A}) is True
    assert [quote["quote_id"] for quote in session.call("quote_search", {})] == [other["quote_id"]]
    (contract,) = session.call("contract_search", {})
    assert (contract["contract_id"], contract["opportunity_id"]) == (CONTRACT_A, None)
    assert contract["value"] == 5000
    rows = session.rows()
    assert [row["document_id"] for row in rows["documents"]] == [DOCUMENT_A], (
        "documents outlive their quote"
    )
    assert [row["note_id"] for row in rows["notes"]] == [NOTE_A]
    assert [row["opportunity_id"] for row in rows["opportunities"]] == [OPPORTUNITY_B]
    assert refusal(session, "opportunity_details", opportunity_id=OPPORTUNITY_A).kind == "not_found"


def test_deleting_a_client_would_remove_all_that_is_its_own(session: Session) -> None:
    """No tool deletes clients; that the tables would do it right is theirs to say."""
    session.fetch("DELETE FROM clients WHERE client_id = %s::uuid RETURNING 'true'::text", [CLIENT_A])
    rows = session.rows()
    assert "contacts" not in rows
    assert "quotes" not in rows
    assert "contracts" not in rows
    assert [row["opportunity_id"] for row in rows["opportunities"]] == [OPPORTUNITY_B]


def test_what_was_deleted_can_be_created_again(session: Session) -> None:
    session.call("delete_quote", {"quote_id": QUOTE_A})
    given = {"quote_id": QUOTE_A, "opportunity_id": OPPORTUNITY_A, "amount": 5, "status": "Draft"}
    assert session.call("create_quote", given)["quote_id"] == QUOTE_A
