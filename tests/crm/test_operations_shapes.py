"""Every tool on every kind of server: what its result looks like, and what it cannot find."""

from __future__ import annotations

from typing import Any

import pytest

from crm_assets.crm import ENTITIES, TOOLS, Session
from tests.crm.samples import (
    CLIENT_A,
    COMPANY_A,
    CONTACT_A,
    CONTRACT_A,
    NOBODY,
    OPPORTUNITY_A,
    OPPORTUNITY_B,
    QUOTE_A,
    QUOTE_B,
    refusal,
)

CALLS: dict[str, dict[str, Any]] = {
    "create_new_client": {"name": "New", "email": "new@x.example", "status": "Active"},
    "create_new_contact": {"first_name": "A", "last_name": "B", "client_id": CLIENT_A},
    "create_new_opportunity": {"name": "N", "client_id": CLIENT_A, "amount": 5, "stage": "Proposal"},
    "create_quote": {"opportunity_id": OPPORTUNITY_A, "amount": 5, "status": "Draft"},
    "create_contract": {"client_id": CLIENT_A},
    "upload_document": {"entity_type": "Contract", "entity_id": CONTRACT_A, "file_name": "a.pdf"},
    "add_note": {"entity_type": "Contact", "entity_id": CONTACT_A, "content": "Hi"},
    "modify_client": {"client_id": CLIENT_A, "phone": "1"},
    "modify_contact": {"contact_id": CONTACT_A, "updates": {"phone": "1"}},
    "modify_opportunity": {"opportunity_id": OPPORTUNITY_A, "amount": 7},
    "modify_quote": {"quote_id": QUOTE_A, "updates": {"version": "v2"}},
    "clone_opportunity": {"opportunity_id": OPPORTUNITY_A},
    "cancel_quote": {"quote_id": QUOTE_A},
    "delete_opportunity": {"opportunity_id": OPPORTUNITY_A},
    "delete_quote": {"quote_id": QUOTE_A},
    "view_opportunity_details": {"opportunity_id": OPPORTUNITY_A},
    "opportunity_details": {"opportunity_id": OPPORTUNITY_A},
    "quote_details": {"quote_id": QUOTE_A},
    "compare_quotes": {"quote_ids": [QUOTE_A, QUOTE_B]},
    "compare_quote_details": {"quote_ids": [QUOTE_A, QUOTE_B]},
    "client_search": {"client_id": CLIENT_A},
    "contact_search": {"last_name": "doe"},
    "opportunity_search": {"criteria": {"stage": "Proposal"}},
    "quote_search": {"amount": 600},
    "contract_search": {"status": "Active"},
    "company_search": {"contacts": "milton"},
    "summarize_opportunities": {},
    "quote_prefixes": {},
}

# What the results hold that is neither in the call nor in the entity's table.
PLAIN = {
    "delete_opportunity": True,
    "delete_quote": True,
    "quote_prefixes": ["AB", "EU"],
    "summarize_opportunities": {
        "total_count": 2,
        "total_amount": 1250.5,
        "by_stage": {"Proposal": 1, "Negotiation": 1},
        "by_owner": {"Ann": 1, "Ben": 1},
    },
}

RETURNS_ENTITY = [
    name
    for name in CALLS
    if name not in PLAIN and not name.endswith("_search") and not name.startswith("compare")
]
RETURNS_LIST = [name for name in CALLS if name.endswith("_search")] + ["compare_quotes"]


def test_every_tool_is_called_here() -> None:
    assert set(CALLS) == set(TOOLS)
    assert set(RETURNS_ENTITY) | set(RETURNS_LIST) | set(PLAIN) | {"compare_quote_details"} == set(TOOLS)


@pytest.mark.parametrize("name", RETURNS_ENTITY)
def test_an_entity_comes_with_all_its_fields_in_order(session: Session, name: str) -> None:
    result = session.call(name, CALLS[name])
    assert list(result) == list(TOOLS[name].entity.fields)


@pytest.mark.parametrize("name", RETURNS_LIST)
def test_lists_hold_whole_entities(session: Session, name: str) -> None:
    result = session.call(name, CALLS[name])
    assert isinstance(result, list)
    assert result, "the call here is meant to find something"
    for entry in result:
        assert list(entry) == list(TOOLS[name].entity.fields)


@pytest.mark.parametrize("name", PLAIN)
def test_other_results(session: Session, name: str) -> None:
    assert session.call(name, CALLS[name]) == PLAIN[name]


def test_compare_quote_details(session: Session) -> None:
    result = session.call("compare_quote_details", {"quote_ids": [QUOTE_B, QUOTE_A, QUOTE_B]})
    assert list(result) == ["quotes", "amounts", "statuses", "total_amount"]
    assert [quote["quote_id"] for quote in result["quotes"]] == [QUOTE_B, QUOTE_A, QUOTE_B]
    assert result["amounts"] == [600, 400.25, 600]
    assert result["statuses"] == ["Sent", "Draft", "Sent"]
    assert result["total_amount"] == 1600.25


@pytest.mark.parametrize("name", ["compare_quotes", "compare_quote_details"])
def test_comparing_nothing(session: Session, name: str) -> None:
    result = session.call(name, {"quote_ids": []})
    assert (result["quotes"] if isinstance(result, dict) else result) == []


def test_compare_quotes_keeps_the_order_it_is_asked_in(session: Session) -> None:
    result = session.call("compare_quotes", {"quote_ids": [QUOTE_B, QUOTE_A.upper(), QUOTE_B]})
    assert [quote["quote_id"] for quote in result] == [QUOTE_B, QUOTE_A, QUOTE_B]


def test_the_two_names_of_the_details_give_one_result(session: Session) -> None:
    call = {"opportunity_id": OPPORTUNITY_B}
    assert session.call("opportunity_details", call) == session.call("view_opportunity_details", call)


def test_a_whole_entity_as_json_values(session: Session) -> None:
    assert session.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A}) | {"created_at": 0} == {
        "opportunity_id": OPPORTUNITY_A,
        "client_id": CLIENT_A,
        "name": "Renewal",
        "stage": "Proposal",
        "amount": 1000.5,
        "close_date": "2024-12-31",
        "owner": "Ann",
        "probability": 40,
        "notes": None,
        "created_at": 0,
    }
    company = session.call("company_search", {})[0]
    assert company == {
        "company_id": COMPANY_A,
        "name": "Initech",
        "type": "Vendor",
        "industry": "Software",
        "address": None,
        "contacts": ["Bill Lumbergh", "Milton"],
    }


def test_numbers_stay_numbers(session: Session) -> None:
    opportunity = session.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A})
    assert type(opportunity["amount"]) is float
    assert type(opportunity["probability"]) is int
    quote = session.call(
        "create_quote", {"opportunity_id": OPPORTUNITY_A, "amount": 19.99, "status": "Sent"}
    )
    assert quote["amount"] == 19.99
    largest = session.call("modify_quote", {"quote_id": quote["quote_id"], "amount": 10_000_000})
    assert largest["amount"] == 10_000_000
    assert type(session.call("contract_search", {})[0]["value"]) in (int, float)


# -------------------------------------------------------------- not there

POINTERS = [
    (name, argument, ENTITIES[TOOLS[name].entity.pointers.get(argument, "")].name)
    if argument in TOOLS[name].entity.pointers
    else (name, argument, TOOLS[name].entity.name)
    for name, call in CALLS.items()
    for argument in call
    if argument.endswith("_id") and argument != "entity_id" and not name.endswith("_search")
]


@pytest.mark.parametrize("missing", [NOBODY, "42", "", "'; DROP TABLE clients; --", "\x00", "a\ud800"])
@pytest.mark.parametrize(("name", "argument", "entity"), POINTERS)
def test_what_is_not_there_is_not_found_whatever_the_id(
    session: Session, name: str, argument: str, entity: str, missing: str
) -> None:
    error = refusal(session, name, **{**CALLS[name], argument: missing})
    written = missing.encode(errors="replace").decode()
    assert (error.kind, error.message) == ("not_found", f"{entity} not found with ID '{written}'.")


@pytest.mark.parametrize("missing", [NOBODY, "42", "\x00"])
def test_other_pointers(session: Session, missing: str) -> None:
    """Those that a call need not give."""
    expected = f"Opportunity not found with ID '{missing}'."
    assert (
        refusal(session, "create_contract", client_id=CLIENT_A, opportunity_id=missing).message == expected
    )
    assert refusal(session, "modify_quote", quote_id=QUOTE_A, opportunity_id=missing).message == expected
    expected = f"Client not found with ID '{missing}'."
    assert refusal(session, "modify_contact", contact_id=CONTACT_A, client_id=missing).message == expected
    error = refusal(
        session, "modify_opportunity", opportunity_id=OPPORTUNITY_A, updates={"client_id": missing}
    )
    assert (error.kind, error.message) == ("not_found", expected)


@pytest.mark.parametrize("missing", [NOBODY, "42", "\x00"])
@pytest.mark.parametrize(
    ("tool", "kind", "rest"),
    [
        *(
            ("upload_document", kind, {"file_name": "a.pdf"})
            for kind in ("Opportunity", "Contract", "Quote")
        ),
        *(("add_note", kind, {"content": "x"}) for kind in ("Client", "Contact", "Quote")),
    ],
)
def test_what_a_document_or_note_belongs_to_must_be_there(
    session: Session, tool: str, kind: str, rest: dict[str, str], missing: str
) -> None:
    error = refusal(session, tool, entity_type=kind, entity_id=missing, **rest)
    assert (error.kind, error.message) == ("not_found", f"{kind} not found with ID '{missing}'.")


def test_an_id_of_another_kind_of_entity_is_not_found(session: Session) -> None:
    error = refusal(session, "add_note", entity_type="Quote", entity_id=CLIENT_A, content="x")
    assert error.message == f"Quote not found with ID '{CLIENT_A}'."
    error = refusal(session, "quote_details", quote_id=OPPORTUNITY_A)
    assert error.message == f"Quote not found with ID '{OPPORTUNITY_A}'."


def test_one_missing_quote_among_several(session: Session) -> None:
    for name in ("compare_quotes", "compare_quote_details"):
        error = refusal(session, name, quote_ids=[QUOTE_A, NOBODY, QUOTE_B])
        assert (error.kind, error.message) == ("not_found", f"Quote not found with ID '{NOBODY}'.")


def test_a_call_that_is_no_object_and_a_tool_that_is_none(session: Session) -> None:
    from crm_assets.crm import ToolError

    for arguments in ([], "x", None, 5):
        with pytest.raises(ToolError) as caught:
            session.call("client_search", arguments)  # type: ignore[arg-type]
        assert caught.value.message == "Tool 'client_search' needs its arguments as an object."
    assert refusal(session, "no_such_tool").kind == "unknown_tool"
