"""Each kind of field: what it takes, what it makes of it, and the sentence for what it does not take."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from crm_assets.crm.amounts import Amount, Probability
from crm_assets.crm.entities import ENTITIES
from crm_assets.crm.fields import (
    NO_MATCH,
    Choice,
    Day,
    Identifier,
    Rule,
    Timestamp,
    UnknownIdError,
    not_found,
    parse_uuid,
    shown,
)
from crm_assets.crm.texts import MAX_TEXT, Email, FileName, Text, TextList

TEN_MEGABYTES = "x" * 10_000_000
SOME_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"

NAME = Text("Client name", blank=False)
FREE = Text("Client phone")
EMAIL = Email("Client email")
FILE = FileName("Document file name")
OWN_ID = Identifier("Client ID", entity="Client", generated=True)
POINTER = Identifier("Contact client ID", entity="Client")
ANY_POINTER = Identifier("Note entity ID")
STAGE = Choice("Opportunity stage", values=("Proposal", "Closed-Won"))
AMOUNT = Amount("Quote amount")
VALUE = Amount("Contract value", bounded=False)
PROBABILITY = Probability("Probability")
DAY = Day("Close date")
MOMENT = Timestamp("Note created at")
TEXTS = TextList("Company contacts")

ALLOWED_FILES = "csv, doc, docx, key, pdf, ppt, pptx, txt, xlsx"


def brief(value: object) -> str:
    """The name of a parameter: some values here are far too long for one."""
    if isinstance(value, Rule):
        return value.label.replace(" ", "_")
    if isinstance(value, int) and abs(value) > 10**20:
        return "huge" if value > 0 else "minus_huge"
    return ascii(value)[:30] if not isinstance(value, str) else ascii(value[:30])


def sentence(rule: Rule, value: object) -> str:
    with pytest.raises(ValueError) as caught:
        rule.parse(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rule", "value", "stored"),
    [
        (NAME, "  Acme \n", "Acme"),
        (NAME, "\u3000é\u2003", "é"),
        (NAME, "x" * MAX_TEXT, "x" * MAX_TEXT),
        (FREE, "   ", ""),
        (FREE, "'); DROP TABLE clients; --", "'); DROP TABLE clients; --"),
        (EMAIL, " Jo.Doe+x@mail.example.com ", "Jo.Doe+x@mail.example.com"),
        (FILE, " Offer_v1.2-final.PDF ", "Offer_v1.2-final.PDF"),
        (OWN_ID, f" {SOME_ID.upper()} ", UUID(SOME_ID)),
        (POINTER, SOME_ID, UUID(SOME_ID)),
        (ANY_POINTER, SOME_ID, UUID(SOME_ID)),
        (ANY_POINTER, "no ID", "no ID"),
        (STAGE, "Closed-Won", "Closed-Won"),
        (AMOUNT, 5, Decimal("5.00")),
        (AMOUNT, 0.1 + 0.2, Decimal("0.30")),
        (AMOUNT, 0.01, Decimal("0.01")),
        (AMOUNT, 10_000_000, Decimal("10000000.00")),
        (VALUE, 0, Decimal("0.00")),
        (VALUE, 999_999_999_999.99, Decimal("999999999999.99")),
        (VALUE, 75_000.5, Decimal("75000.50")),
        (PROBABILITY, 1, 1),
        (PROBABILITY, 99, 99),
        (PROBABILITY, 75.0, 75),
        (DAY, " 2024-02-29 ", date(2024, 2, 29)),
        (MOMENT, "2024-05-01", datetime(2024, 5, 1, tzinfo=timezone.utc)),
        (MOMENT, "2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        (MOMENT, "2024-05-01 10:00:00", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
        (MOMENT, "2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8, tzinfo=timezone.utc)),
        (TEXTS, [" Jo ", "Al"], ["Jo", "Al"]),
        (TEXTS, [], []),
    ],
    ids=brief,
)
def test_valid_values_are_stored_in_their_normal_form(rule: Rule, value: object, stored: object) -> None:
    assert rule.parse(value) == stored
    assert type(rule.parse(value)) is type(stored)


def test_a_moment_is_stored_in_utc() -> None:
    moment = MOMENT.parse("2024-05-01T10:00:00+02:00")
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (NAME, "", "Client name must not be blank."),
        (NAME, " \t\n", "Client name must not be blank."),
        (NAME, 7, "Client name must be text."),
        (NAME, True, "Client name must be text."),
        (NAME, ["a"], "Client name must be text."),
        (NAME, {"a": 1}, "Client name must be text."),
        (NAME, "a\x00b", "Client name must not hold NUL characters."),
        (NAME, "a\ud800", "Client name must be valid Unicode text."),
        (NAME, "x" * (MAX_TEXT + 1), "Client name must not be longer than 20,000 characters."),
        (FREE, TEN_MEGABYTES, "Client phone must not be longer than 20,000 characters."),
        (FREE, "\x00", "Client phone must not hold NUL characters."),
        (EMAIL, "", "Client email must be a valid email address."),
        (EMAIL, "jo", "Client email must be a valid email address."),
        (EMAIL, "jo@localhost", "Client email must be a valid email address."),
        (EMAIL, "jo doe@x.example", "Client email must be a valid email address."),
        (EMAIL, "a@b@c.example", "Client email must be a valid email address."),
        (EMAIL, "jo@x.example.", "Client email must be a valid email address."),
        (EMAIL, "jo@.example", "Client email must be a valid email address."),
        (EMAIL, 5, "Client email must be text."),
        (EMAIL, TEN_MEGABYTES, "Client email must not be longer than 20,000 characters."),
        (FILE, " ", "Document file name must not be blank."),
        (FILE, "../etc.pdf", "Document file name may only hold letters, digits, '.', '_' and '-'."),
        (FILE, "a b.pdf", "Document file name may only hold letters, digits, '.', '_' and '-'."),
        (FILE, "é.pdf", "Document file name may only hold letters, digits, '.', '_' and '-'."),
        (FILE, "offer", "Document file name must have an extension."),
        (FILE, "offer.", "Document file name must have an extension."),
        (FILE, ".pdf", "Document file name must have an extension."),
        (FILE, "x.exe", f"Document file extension '.exe' is not supported (allowed: {ALLOWED_FILES})."),
        (FILE, "x.pdf.EXE", f"Document file extension '.EXE' is not supported (allowed: {ALLOWED_FILES})."),
        (OWN_ID, "7", "Client ID must be a valid UUID."),
        (OWN_ID, SOME_ID.replace("-", ""), "Client ID must be a valid UUID."),
        (OWN_ID, "{" + SOME_ID + "}", "Client ID must be a valid UUID."),
        (OWN_ID, 7, "Client ID must be text."),
        (POINTER, "7", "Client not found with ID '7'."),
        (POINTER, "", "Client not found with ID ''."),
        (POINTER, "a\ud800", "Client not found with ID 'a?'."),
        (POINTER, TEN_MEGABYTES, f"Client not found with ID '{'x' * 80}…'."),
        (POINTER, 7, "Contact client ID must be text."),
        (ANY_POINTER, 7, "Note entity ID must be text."),
        (STAGE, "closed-won", "Opportunity stage must be one of: Proposal, Closed-Won."),
        (STAGE, " Proposal", "Opportunity stage must be one of: Proposal, Closed-Won."),
        (STAGE, "", "Opportunity stage must be one of: Proposal, Closed-Won."),
        (STAGE, 3, "Opportunity stage must be one of: Proposal, Closed-Won."),
        (STAGE, ["Proposal"], "Opportunity stage must be one of: Proposal, Closed-Won."),
        (STAGE, TEN_MEGABYTES, "Opportunity stage must be one of: Proposal, Closed-Won."),
        (AMOUNT, 0, "Quote amount must be greater than zero."),
        (AMOUNT, 0.001, "Quote amount must be greater than zero."),
        (AMOUNT, -5, "Quote amount must be greater than zero."),
        (AMOUNT, -(10**5000), "Quote amount must be greater than zero."),
        (AMOUNT, 10_000_000.01, "Quote amount must not exceed 10,000,000."),
        (AMOUNT, 10**5000, "Quote amount must not exceed 10,000,000."),
        (AMOUNT, 1e308, "Quote amount must not exceed 10,000,000."),
        (AMOUNT, Decimal("1e9999999"), "Quote amount must not exceed 10,000,000."),
        (AMOUNT, "5", "Quote amount must be a number."),
        (AMOUNT, True, "Quote amount must be a number."),
        (AMOUNT, math.nan, "Quote amount must be a number."),
        (AMOUNT, math.inf, "Quote amount must be a number."),
        (AMOUNT, None, "Quote amount must be a number."),
        (VALUE, 10**12, "Contract value must not exceed 999,999,999,999.99."),
        (VALUE, -0.01, "Contract value must not be negative."),
        (VALUE, -math.inf, "Contract value must be a number."),
        (PROBABILITY, 0, "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, 100, "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, 50.5, "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, "50", "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, True, "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, math.nan, "Probability must be a whole number from 1 to 99."),
        (PROBABILITY, 10**5000, "Probability must be a whole number from 1 to 99."),
        (DAY, "2023-02-29", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "20240229", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "2024-2-9", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "2024-02-29T00:00:00", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "0000-01-01", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "2024-W01-1", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "next Friday", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, "2024-02-2\x00", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, 20240229, "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (DAY, TEN_MEGABYTES, "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (MOMENT, "yesterday", "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, "", "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, "2024-05-01T25:00:00", "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, "0001-01-01T00:00:00+10:00", "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, 1714557600, "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, "2024-05-01\ud800", "Note created at must be a valid ISO-8601 date and time."),
        (MOMENT, TEN_MEGABYTES, "Note created at must be a valid ISO-8601 date and time."),
        (TEXTS, "Jo", "Company contacts must be a list of texts."),
        (TEXTS, [1], "Company contacts must be text."),
        (TEXTS, ["a\x00"], "Company contacts must not hold NUL characters."),
    ],
    ids=brief,
)
def test_invalid_values_are_refused_in_one_sentence(rule: Rule, value: object, expected: str) -> None:
    assert sentence(rule, value) == expected
    assert sentence(rule, value) == expected, "the second time it says something else"


def test_a_pointer_that_is_no_uuid_is_not_found_and_an_own_id_is_invalid() -> None:
    with pytest.raises(UnknownIdError):
        POINTER.parse("7")
    with pytest.raises(ValueError) as caught:
        OWN_ID.parse("7")
    assert not isinstance(caught.value, UnknownIdError)


def test_every_field_of_every_entity_refuses_what_is_no_json_scalar_or_list() -> None:
    for entity in ENTITIES.values():
        for rule in entity.fields.values():
            text = sentence(rule, {"not": "this"})
            assert text.startswith(rule.label)
            assert text.endswith(".")
            assert "\n" not in text


@pytest.mark.parametrize(
    ("rule", "value", "wanted"),
    [
        (NAME, " acme ", "acme"),
        (NAME, "", ""),
        (NAME, 42, "42"),
        (NAME, 4.5, "4.5"),
        (NAME, 10**5000, str(10**15)),
        (EMAIL, "@acme", "@acme"),
        (FILE, "offer v", "offer v"),
        (OWN_ID, SOME_ID, UUID(SOME_ID)),
        (OWN_ID, "7", NO_MATCH),
        (POINTER, "7", NO_MATCH),
        (STAGE, "Proposal", "Proposal"),
        (STAGE, "proposal", NO_MATCH),
        (AMOUNT, "1000.50", Decimal("1000.5")),
        (AMOUNT, -3, Decimal(-3)),
        (AMOUNT, 10**5000, Decimal(10**15)),
        (AMOUNT, "-1e999999", Decimal(-(10**15))),
        (AMOUNT, 0.001, NO_MATCH),
        (AMOUNT, "1e-999999999", NO_MATCH),
        (AMOUNT, "0." + "1" * 20_000, NO_MATCH),
        (PROBABILITY, "50", Decimal(50)),
        (PROBABILITY, 50.5, Decimal("50.5")),
        (DAY, "2024-01-01", date(2024, 1, 1)),
        (MOMENT, "2024-01-01", datetime(2024, 1, 1, tzinfo=timezone.utc)),
        (TEXTS, "Jo", "Jo"),
    ],
    ids=brief,
)
def test_criteria(rule: Rule, value: object, wanted: object) -> None:
    assert rule.criterion(value) == wanted


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (NAME, True, "Client name must be text."),
        (NAME, ["a"], "Client name must be text."),
        (NAME, "\x00", "Client name must not hold NUL characters."),
        (NAME, TEN_MEGABYTES, "Client name must not be longer than 20,000 characters."),
        (OWN_ID, 7, "Client ID must be text."),
        (STAGE, 7, "Opportunity stage must be one of: Proposal, Closed-Won."),
        (AMOUNT, "many", "Quote amount must be a number."),
        (AMOUNT, "NaN", "Quote amount must be a number."),
        (AMOUNT, "-Infinity", "Quote amount must be a number."),
        (AMOUNT, TEN_MEGABYTES, "Quote amount must be a number."),
        (AMOUNT, math.nan, "Quote amount must be a number."),
        (AMOUNT, True, "Quote amount must be a number."),
        (PROBABILITY, [], "Probability must be a number."),
        (DAY, "soon", "Close date must be a valid ISO-8601 date (YYYY-MM-DD)."),
        (MOMENT, "soon", "Note created at must be a valid ISO-8601 date and time."),
        (TEXTS, ["Jo"], "Company contacts must be text."),
    ],
    ids=brief,
)
def test_criteria_that_cannot_be_of_the_kind(rule: Rule, value: object, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        rule.criterion(value)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("value", "uuid"),
    [
        (SOME_ID, UUID(SOME_ID)),
        (f"\t{SOME_ID.upper()} ", UUID(SOME_ID)),
        (SOME_ID.replace("-", ""), None),
        (f"urn:uuid:{SOME_ID}", None),
        (SOME_ID[:-1], None),
        (SOME_ID + "0", None),
        (UUID(SOME_ID), None),
        (7, None),
        (None, None),
    ],
    ids=brief,
)
def test_parse_uuid_takes_the_usual_36_characters_only(value: Any, uuid: UUID | None) -> None:
    assert parse_uuid(value) == uuid


def test_what_a_sentence_shows_is_short_and_can_be_written() -> None:
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 80 + "…"
    assert shown("é\udcff") == "é?"
    assert not_found("Quote", SOME_ID) == f"Quote not found with ID '{SOME_ID}'."
