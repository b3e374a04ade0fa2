"""Sessions on a small CRM, and databases of one's own for tests that break things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from crm_assets.crm import Sandbox, SeedRows, Session, deterministic_ids, make_seed_rows
from tests.crm.samples import SEED_DATA, TODAY, conversation


@pytest.fixture
def seeds() -> SeedRows:
    """The rows of `SEED_DATA`."""
    return make_seed_rows(conversation(SEED_DATA))


@pytest.fixture
def session(sandbox: Sandbox, seeds: SeedRows) -> Iterator[Session]:
    """A session on the seeds; its today is 1 June 2024."""
    with sandbox.begin(seeds, ids=deterministic_ids("test"), today=lambda: TODAY) as opened:
        yield opened


@pytest.fixture
def empty_session(sandbox: Sandbox) -> Iterator[Session]:
    """A session without seeds."""
    with sandbox.begin({}, ids=deterministic_ids("test"), today=lambda: TODAY) as opened:
        yield opened


@pytest.fixture(scope="session")
def make_database(sandbox_conninfo: str) -> Iterator[Callable[..., str]]:
    """Makes databases of one's own on each kind of server; each takes a good part of a second."""
    names: list[str] = []

    def make(options: str = "") -> str:
        names.append(f"crm_test_{uuid4().hex[:10]}")
        statement = sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(names[-1]))
        with psycopg.connect(sandbox_conninfo, autocommit=True) as admin:
            admin.execute(statement)
        return psycopg.conninfo.make_conninfo(sandbox_conninfo, dbname=names[-1])

    yield make
    with psycopg.connect(sandbox_conninfo, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def _own_database(make_database: Callable[..., str]) -> str:
    return make_database()


@pytest.fixture
def own_database(_own_database: str) -> str:
    """A database that nothing else uses, empty, on each kind of server."""
    with psycopg.connect(_own_database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        schemas = admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sandbox%'").fetchall()
        for (schema,) in schemas:
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    return _own_database
