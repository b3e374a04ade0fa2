from __future__ import annotations

import psycopg
import pytest

from crm_assets.database import Databases
from crm_assets.errors import first_line, last_line


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (ValueError("\n one \n two\nthree\n"), "one", "three"),
        (KeyError(), "KeyError", "KeyError"),
        (TimeoutError("  \n "), "TimeoutError", "TimeoutError"),
        ("only text\nand more", "only text", "and more"),
        ("FATAL:  no\nDETAIL:  Why  not.", "FATAL:  no. DETAIL: Why not.", "FATAL:  no. DETAIL: Why not."),
        (
            "to ::1 failed: refused\n\tIs it running?\nto 127.0.0.1 failed: refused\n\tIs it running?",
            "to ::1 failed: refused. Is it running?",
            "to 127.0.0.1 failed: refused. Is it running?",
        ),
    ],
)
def test_an_error_is_named_by_one_line(error: object, first: str, last: str) -> None:
    assert (first_line(error), last_line(error)) == (first, last)


def test_an_error_of_postgres_has_its_severity_and_detail(databases: Databases) -> None:
    with psycopg.connect(databases.sandbox) as connection:
        connection.execute("CREATE TEMP TABLE once (one int PRIMARY KEY)")
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            connection.execute("INSERT INTO once VALUES (1), (1)")
    assert first_line(caught.value) == (
        'ERROR: duplicate key value violates unique constraint "once_pkey"; Key (one)=(1) already exists'
    )
