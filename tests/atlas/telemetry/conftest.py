"""A telemetry database for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.database import Databases

Query = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def make_telemetry_database(databases: Databases) -> Callable[[], str]:
    """Makes empty databases; they go with the session's server."""

    def make() -> str:
        name = f"telemetry_{uuid4().hex[:10]}"
        with psycopg.connect(databases.sandbox, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return psycopg.conninfo.make_conninfo(databases.sandbox, dbname=name)

    return make


@pytest.fixture
def empty_database(make_telemetry_database: Callable[[], str]) -> str:
    """A database without anything in it, for one test alone."""
    return make_telemetry_database()


@pytest.fixture(scope="session")
def _telemetry_database(make_telemetry_database: Callable[[], str]) -> str:
    return make_telemetry_database()


@pytest.fixture
def telemetry_database(_telemetry_database: str) -> str:
    """A database whose tables are there and empty."""
    with TelemetryStore(_telemetry_database):
        pass
    with psycopg.connect(_telemetry_database) as admin:
        admin.execute("TRUNCATE sessions, learning_registry RESTART IDENTITY CASCADE")
    return _telemetry_database


@pytest.fixture
def store(telemetry_database: str) -> Iterator[TelemetryStore]:
    """A store on it."""
    with TelemetryStore(telemetry_database) as opened:
        yield opened


@pytest.fixture
def query(telemetry_database: str) -> Iterator[Query]:
    """Rows of a statement on it, as anybody sees them."""
    with psycopg.connect(telemetry_database, autocommit=True) as connection:

        def rows(text: str, *parameters: object) -> list[Any]:
            cursor = connection.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []

        yield rows


@pytest.fixture
def tests_folder() -> str:
    """Where other processes find these tests' modules."""
    return str(Path(__file__).parents[2])
