from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.conversations import normalize_reply, unreproducible_values

from .conftest import turn

SEEDED = "db13ac11-2c2c-478a-a0eb-3a61455571e0"
GIVEN = "8acf0467-5d94-4b6e-a69d-ebc54f696a1f"
MADE = "59d2fc72-d2ee-4de6-b8a3-7bb7666e65b1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Created  client\n ACME.", "created client acme"),
        ("Done!!", "done"),
        ("Straße", "STRASSE"),
        ("\uff21cme \u2026", "acme"),
        ("\ufb01le", "file"),
        ("caf\u00e9", "cafe\u0301"),
        ("O\u2019Brien\u2018s deal", "O'Brien's deal"),
        ("the \u201cBig\u201d or \u00abBig\u00bb deal", 'the "Big" or "Big" deal'),
        (
            "follow\u2011up, Q1\u2013Q2 \u2014 2035\u201001\u201031, \u22125",
            "follow-up, Q1-Q2 - 2035-01-31, -5",
        ),
    ],
)
def test_what_says_the_same_is_the_same(one, other):
    assert normalize_reply(one) == normalize_reply(other)


@pytest.mark.parametrize(("one", "other"), [("50%", "50"), ("-5", "5"), ("a b", "ab"), ("$1.50", "$150")])
def test_what_says_something_else_stays_different(one, other):
    assert normalize_reply(one) != normalize_reply(other)


@given(st.text())
def test_normalizing_twice_changes_nothing(text):
    once = normalize_reply(text)
    assert normalize_reply(once) == once


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_case_and_blanks_do_not_matter(text):
    assert normalize_reply(f" {text.upper()} \t") == normalize_reply(text.lower())


@pytest.fixture
def known(conversation):
    seeds = {"seed_data": {"Client": {SEEDED: {"name": "Acme"}}}}
    return conversation(turns=[turn(1, expected_args={"client_id": GIVEN})], initial_entities=seeds)


def test_ids_of_seeds_and_arguments_can_be_reproduced(known):
    assert unreproducible_values(known, f"Client {SEEDED} and opportunity {GIVEN.upper()}.") == []


def test_generated_ids_and_times_cannot(known):
    text = f"Created {MADE} at 2025-11-12T01:45:21.225217+00:00, see {MADE}."
    assert unreproducible_values(known, text) == [MADE, "2025-11-12T01:45:21.225217+00:00"]


@pytest.mark.parametrize("text", ["closes on 2035-01-31", "worth $75,000.00", "version 1.0", ""])
def test_dates_and_amounts_can(known, text):
    assert unreproducible_values(known, text) == []


@pytest.mark.parametrize("time", ["2025-11-12T01:45:21Z", "2025-11-12 01:45", "2025-11-12T01:45:21+0100"])
def test_every_form_of_time_is_found(known, time):
    assert unreproducible_values(known, f"at {time}.") == [time]
