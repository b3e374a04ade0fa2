"""Whatever a model says fits into a jsonb column."""

from __future__ import annotations

from datetime import date
from types import MappingProxyType
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_assets.atlas.telemetry.jsonb import clean_text, jsonb

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["\0", "\ud800", "a\udfffb", "\\u0000", "\ud83d\ude00"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_postgres_takes_it(telemetry_connection: psycopg.Connection, value: Any) -> None:
    text = jsonb({"value": value})
    row = telemetry_connection.execute("SELECT %s::jsonb ? 'value'", (text,)).fetchone()
    assert row == (True,)


@pytest.fixture(scope="module")
def telemetry_connection(databases: Any) -> Any:
    with psycopg.connect(databases.telemetry, autocommit=True) as connection:
        yield connection


def test_what_is_ordinary_stays_as_it_is() -> None:
    document = {"a": [1, 2.5, None, True, "ü€😀"], "b": {"c": "\\u0000 in words"}}
    assert orjson.loads(jsonb(document)) == document


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        (float("nan"), None),
        ([float("inf"), "\0"], [None, "\ufffd"]),
        ((1, "\0"), [1, "\ufffd"]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ([date(2024, 6, 1), "\0"], ["2024-06-01", "\ufffd"]),
    ],
)
def test_what_postgres_refuses_is_replaced(value: Any, stored: Any) -> None:
    assert orjson.loads(jsonb(value)) == stored


def test_a_number_of_any_size_is_kept() -> None:
    assert jsonb({"n": 2**80}) == f'{{"n": {2**80}}}'


def test_what_is_nested_without_end_is_cut() -> None:
    nested: Any = "deep"
    for _ in range(5000):
        nested = [nested]
    text = jsonb(nested)
    assert "…" in text
    assert "deep" not in text


def test_what_is_no_data_is_a_bug() -> None:
    with pytest.raises(TypeError):
        jsonb({"a": object()})


def test_clean_text_leaves_ordinary_text_alone() -> None:
    assert clean_text("Grüße, 😀\n") == "Grüße, 😀\n"
    assert clean_text("\0x\udc00") == "\ufffdx\ufffd"
