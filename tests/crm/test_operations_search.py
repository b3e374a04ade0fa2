"""Searching: parts of text in any case, all else exactly, all must match, in order of insertion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from crm_assets.crm import TOOLS, SandboxPool, SeedRows, Session
from crm_assets.crm.texts import Text
from tests.crm.samples import (
    CLIENT_A,
    CLIENT_B,
    COMPANY_A,
    CONTACT_A,
    CONTRACT_A,
    NOBODY,
    OPPORTUNITY_A,
    OPPORTUNITY_B,
    QUOTE_A,
    QUOTE_B,
    error_sentence,
)

SEARCHES = [name for name in TOOLS if name.endswith("_search")]


def found(session: Session, tool: str, **criteria: Any) -> list[str]:
    flat = session.call(tool, criteria)
    assert session.call(tool, {"criteria": criteria}) == flat, "criteria and arguments are one thing"
    return [row[TOOLS[tool].entity.id_field] for row in flat]


@pytest.mark.parametrize(
    ("tool", "criteria", "expected"),
    [
        ("client_search", {"name": "ACME"}, [CLIENT_A]),
        ("client_search", {"name": " corp "}, [CLIENT_A]),
        ("client_search", {"name": "acme", "status": "Prospect"}, []),
        ("client_search", {"name": "o", "email": "EXAMPLE"}, [CLIENT_A, CLIENT_B]),
        ("client_search", {"email": "globex"}, [CLIENT_B]),
        ("client_search", {"email": "@"}, [CLIENT_A, CLIENT_B]),
        ("client_search", {"client_id": CLIENT_B}, [CLIENT_B]),
        ("client_search", {"client_id": f" {CLIENT_B.upper()} "}, [CLIENT_B]),
        ("client_search", {"client_id": CLIENT_B[:8]}, []),
        ("client_search", {"client_id": "\x00"}, []),
        ("client_search", {"client_id": NOBODY}, []),
        ("client_search", {"status": "Active"}, [CLIENT_A]),
        ("client_search", {"status": "Act"}, []),
        ("client_search", {"status": "active"}, []),
        ("client_search", {"phone": "1"}, []),
        ("contact_search", {"first_name": "j", "last_name": "OE"}, [CONTACT_A]),
        ("contact_search", {"client_id": CLIENT_A}, [CONTACT_A]),
        ("contact_search", {"client_id": CLIENT_B}, []),
        ("contact_search", {"title": "ceo"}, [CONTACT_A]),
        ("opportunity_search", {"amount": 1000.5}, [OPPORTUNITY_A]),
        ("opportunity_search", {"amount": "1000.50"}, [OPPORTUNITY_A]),
        ("opportunity_search", {"amount": 1000.504}, []),
        ("opportunity_search", {"amount": 1000}, []),
        ("opportunity_search", {"amount": -5}, []),
        ("opportunity_search", {"amount": 10**5000}, []),
        ("opportunity_search", {"amount": "1e-999999999"}, []),
        ("opportunity_search", {"amount": "0." + "1" * 20_000}, []),
        ("opportunity_search", {"probability": 40}, [OPPORTUNITY_A]),
        ("opportunity_search", {"probability": "40"}, [OPPORTUNITY_A]),
        ("opportunity_search", {"probability": 40.5}, []),
        ("opportunity_search", {"probability": 400}, []),
        ("opportunity_search", {"close_date": "2024-12-31"}, [OPPORTUNITY_A]),
        ("opportunity_search", {"close_date": "2024-12-30"}, []),
        ("opportunity_search", {"stage": "Negotiation"}, [OPPORTUNITY_B]),
        ("opportunity_search", {"name": "100%"}, [OPPORTUNITY_B]),
        ("opportunity_search", {"name": "%"}, [OPPORTUNITY_B]),
        ("opportunity_search", {"name": "_"}, []),
        ("opportunity_search", {"name": "\\"}, []),
        ("opportunity_search", {"owner": "ben", "client_id": CLIENT_B}, [OPPORTUNITY_B]),
        ("quote_search", {"opportunity_id": OPPORTUNITY_A}, [QUOTE_A, QUOTE_B]),
        ("quote_search", {"opportunity_id": OPPORTUNITY_A, "status": "Sent"}, [QUOTE_B]),
        ("quote_search", {"quote_prefix": "e"}, [QUOTE_A]),
        ("quote_search", {"amount": 400.25}, [QUOTE_A]),
        ("contract_search", {"value": 5000, "start_date": "2024-01-01"}, [CONTRACT_A]),
        ("contract_search", {"end_date": "2024-01-01"}, []),
        ("contract_search", {"opportunity_id": OPPORTUNITY_A}, [CONTRACT_A]),
        ("company_search", {"type": "Vendor", "industry": "soft"}, [COMPANY_A]),
        ("company_search", {"contacts": "LUMB"}, [COMPANY_A]),
        ("company_search", {"contacts": "h, m"}, []),
        ("company_search", {"type": "Partner"}, []),
    ],
    ids=lambda value: ascii(value)[:60] if isinstance(value, str) else None,
)
def test_what_is_found(session: Session, tool: str, criteria: dict[str, Any], expected: list[str]) -> None:
    assert found(session, tool, **criteria) == expected


@pytest.mark.parametrize("tool", SEARCHES)
@pytest.mark.parametrize("criteria", [{}, {"criteria": {}}, {"criteria": None}])
def test_without_criteria_all_rows_come(session: Session, tool: str, criteria: dict[str, Any]) -> None:
    result = session.call(tool, criteria)
    assert len(result) == len(session.rows()[TOOLS[tool].entity.table])


@pytest.mark.parametrize("tool", SEARCHES)
def test_nothing_is_an_empty_list(empty_session: Session, tool: str) -> None:
    assert empty_session.call(tool, {}) == []


@pytest.mark.parametrize("tool", SEARCHES)
def test_null_criteria_do_not_count(session: Session, tool: str) -> None:
    everything = session.call(tool, {})
    nulls = dict.fromkeys(TOOLS[tool].entity.fields)
    assert session.call(tool, nulls) == everything
    assert session.call(tool, {"criteria": nulls}) == everything


def test_rows_come_in_the_order_of_insertion_whatever_happens_to_them(session: Session) -> None:
    made = [CLIENT_A, CLIENT_B]
    for number in range(20, 0, -1):
        client = {"name": f"C{number}", "email": f"c{number}@x.example", "status": "Active"}
        made.append(session.call("create_new_client", client)["client_id"])
    assert found(session, "client_search") == made
    for identifier in (made[7], made[0], made[21]):
        session.call("modify_client", {"client_id": identifier, "phone": "1"})
    assert found(session, "client_search") == made
    assert found(session, "client_search", name="c1", status="Active") == [
        identifier
        for identifier, number in zip(made[2:], range(20, 0, -1), strict=True)
        if str(number).startswith("1")
    ]


@pytest.mark.parametrize(
    "part", ["%", "_", "\\", "\\%", "'", '"', "a_b", "50%", "x\\y", "é", "É", "ß", "Ж", "ж"]
)
def test_special_characters_and_other_alphabets(session: Session, part: str) -> None:
    first = session.call(
        "create_new_client",
        {"name": "a_b 50% x\\y 'q' \"d\" \\% ÉcoleéßжЖ", "email": "s@x.example", "status": "Active"},
    )
    assert found(session, "client_search", name=part) == [first["client_id"]]


@pytest.mark.parametrize(("stored", "part"), [("ÉCOLE", "école"), ("école", "ÉCOLE"), ("ЖУК", "жук")])
def test_case_is_ignored_in_every_alphabet(session: Session, stored: str, part: str) -> None:
    client = session.call("create_new_client", {"name": stored, "email": "s@x.example", "status": "Active"})
    assert found(session, "client_search", name=part) == [client["client_id"]]


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "'; DELETE FROM clients; --", "%s", "$1", "{}", "%(name)s"]
)
def test_sql_in_every_text_criterion_is_just_text(session: Session, text: str) -> None:
    for tool in SEARCHES:
        for name, rule in TOOLS[tool].entity.fields.items():
            if isinstance(rule, Text):
                assert found(session, tool, **{name: text}) == []
    assert len(session.call("client_search", {})) == 2


def test_a_number_stands_for_its_digits_in_text(session: Session) -> None:
    assert found(session, "opportunity_search", name=100) == [OPPORTUNITY_B]
    assert found(session, "client_search", name=10**5000) == []


@pytest.mark.parametrize(
    ("tool", "criteria", "expected"),
    [
        ("client_search", {"name": True}, "Client name must be text."),
        ("client_search", {"name": ["a"]}, "Client name must be text."),
        ("client_search", {"client_id": 5}, "Client ID must be text."),
        ("client_search", {"status": 5}, "Client status must be one of: Active, Prospect, Inactive."),
        ("client_search", {"name": "\x00"}, "Client name must not hold NUL characters."),
        ("opportunity_search", {"amount": "many"}, "Opportunity amount must be a number."),
        (
            "opportunity_search",
            {"close_date": "soon"},
            "Close date must be a valid ISO-8601 date (YYYY-MM-DD).",
        ),
        ("summarize_opportunities", {"amount": []}, "Opportunity amount must be a number."),
    ],
)
def test_criteria_that_make_no_sense(
    session: Session, tool: str, criteria: dict[str, Any], expected: str
) -> None:
    assert error_sentence(session, tool, **criteria) == expected
    assert error_sentence(session, tool, criteria=criteria) == expected


def test_searching_sees_what_earlier_turns_did(session: Session) -> None:
    session.call("modify_client", {"client_id": CLIENT_A, "name": "Renamed"})
    assert found(session, "client_search", name="acme corp") == []
    assert found(session, "client_search", name="renamed") == [CLIENT_A]
    session.call("delete_quote", {"quote_id": QUOTE_A})
    assert found(session, "quote_search") == [QUOTE_B]


# ------------------------------------------------------------------ summaries


def test_summaries_of_a_part(session: Session) -> None:
    clone = session.call("clone_opportunity", {"opportunity_id": OPPORTUNITY_A})
    session.call(
        "modify_opportunity", {"opportunity_id": clone["opportunity_id"], "updates": {"owner": None}}
    )
    assert session.call("summarize_opportunities", {}) == {
        "total_count": 3,
        "total_amount": 2251,
        "by_stage": {"Proposal": 2, "Negotiation": 1},
        "by_owner": {"Ann": 1, "Ben": 1},
    }
    of_a = {
        "total_count": 2,
        "total_amount": 2001,
        "by_stage": {"Proposal": 2},
        "by_owner": {"Ann": 1},
    }
    assert session.call("summarize_opportunities", {"client_id": CLIENT_A}) == of_a
    assert session.call("summarize_opportunities", {"criteria": {"client_id": CLIENT_A}}) == of_a
    assert session.call("summarize_opportunities", {"owner": "AN", "criteria": {"owner": "x"}}) == {
        "total_count": 1,
        "total_amount": 1000.5,
        "by_stage": {"Proposal": 1},
        "by_owner": {"Ann": 1},
    }


@pytest.mark.parametrize("criteria", [{"stage": "Prospecting"}, {"stage": "nonsense"}, {"client_id": "42"}])
def test_a_summary_of_nothing(session: Session, criteria: dict[str, Any]) -> None:
    empty = {"total_count": 0, "total_amount": 0, "by_stage": {}, "by_owner": {}}
    assert session.call("summarize_opportunities", criteria) == empty


def test_totals_are_exact_to_the_cent(session: Session) -> None:
    for number in range(10):
        session.call(
            "create_new_opportunity",
            {"name": f"T{number}", "client_id": CLIENT_A, "amount": 0.1, "stage": "Prospecting"},
        )
    assert session.call("summarize_opportunities", {"stage": "Prospecting"})["total_amount"] == 1.0
    quotes = [
        session.call("create_quote", {"opportunity_id": OPPORTUNITY_A, "amount": amount, "status": "Draft"})
        for amount in (0.1, 0.2, 0.7)
    ]
    compared = session.call("compare_quote_details", {"quote_ids": [quote["quote_id"] for quote in quotes]})
    assert compared["total_amount"] == 1.0


def test_quote_prefixes_are_sorted_and_distinct_on_every_server(session: Session) -> None:
    for prefix in ("eu", "EU", "Z", "_", "é", "a b", "", None):
        given = {"opportunity_id": OPPORTUNITY_A, "amount": 5, "status": "Draft", "quote_prefix": prefix}
        session.call("create_quote", given)
    assert session.call("quote_prefixes", {}) == sorted(["AB", "EU", "eu", "Z", "_", "é", "a b"])


def test_quote_prefixes_do_not_follow_the_database_s_collation(
    sandbox_conninfo: str, make_database: Callable[..., str], seeds: SeedRows
) -> None:
    with psycopg.connect(sandbox_conninfo) as admin:
        if admin.execute("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'").fetchone() is None:
            return  # this server knows no other order
    conninfo = make_database("TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en'")
    with SandboxPool(conninfo) as pool, pool.lease() as sandbox, sandbox.begin(seeds) as session:
        for prefix in ("a", "B", "_"):
            given = {
                "opportunity_id": OPPORTUNITY_A,
                "amount": 5,
                "status": "Draft",
                "quote_prefix": prefix,
            }
            session.call("create_quote", given)
        assert session.call("quote_prefixes", {}) == ["AB", "B", "EU", "_", "a"]


def test_no_prefixes(empty_session: Session) -> None:
    assert empty_session.call("quote_prefixes", {}) == []
