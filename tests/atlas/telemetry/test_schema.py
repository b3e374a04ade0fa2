"""The tables: made once, whoever starts, and never by taking something away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crm_assets.atlas.telemetry import TelemetryStore, migrate, telemetry_version
from crm_assets.atlas.telemetry.connections import Connections
from crm_assets.atlas.telemetry.schema import Migration, all_migrations
from crm_assets.errors import InfrastructureError
from tests.waiting import eventually

from .build import end, start

COLUMNS = {
    "sessions": "id task status metadata final_answer reward reward_stats reward_audit student_learning "
    "teacher_learning review_status review_notes created_at completed_at",
    "plans": "session_id plan",
    "step_results": "session_id step_id trace output evaluation attempts metadata",
    "step_attempts": "session_id step_id attempt evaluation",
    "guidance_notes": "session_id step_id sequence note",
    "trajectory_events": "id session_id event created_at",
    "learning_registry": "learning_key student_learning teacher_learning metadata updated_at",
    "discovery_runs": "id project_root task source payload metadata created_at",
}

LATEST = all_migrations()[-1].version
NAMES = tuple(migration.name for migration in all_migrations())


def connect(conninfo: str) -> psycopg.Connection:
    pool = Connections(conninfo, min_connections=1, max_connections=1, statement_timeout_seconds=600)
    return pool.connect()


@pytest.fixture
def connection(empty_database: str) -> Iterator[psycopg.Connection]:
    with connect(empty_database) as opened:
        yield opened


def columns_of(connection: psycopg.Connection, table: str) -> set[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
    ).fetchall()
    return {name for (name,) in rows}


def test_migrations_are_numbered_from_1_without_gaps() -> None:
    assert [migration.version for migration in all_migrations()] == list(range(1, LATEST + 1))


def test_an_empty_database_gets_every_table_and_index(connection: psycopg.Connection) -> None:
    assert telemetry_version(connection) is None
    assert migrate(connection) == NAMES
    assert telemetry_version(connection) == LATEST
    for table, names in COLUMNS.items():
        assert columns_of(connection, table) == set(names.split()), table
    rows = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'sessions'").fetchall()
    indexes = " ".join(definition for (definition,) in rows)
    for indexed in (
        "((metadata ->> 'learning_key'::text))",
        "((((reward_stats ->> 'score'::text))::double precision))",
        "(created_at DESC)",
        "USING gin (metadata)",
    ):
        assert indexed.strip("()") in indexes, indexed


def test_the_second_time_nothing_is_left_to_do(connection: psycopg.Connection) -> None:
    migrate(connection)
    assert migrate(connection) == ()


def test_many_that_start_together_make_them_once(empty_database: str) -> None:
    together = threading.Barrier(12)

    def begin() -> tuple[str, ...]:
        with connect(empty_database) as connection:
            together.wait()
            return migrate(connection)

    with ThreadPoolExecutor(12) as pool:
        applied = [future.result() for future in [pool.submit(begin) for _ in range(12)]]
    assert sorted(applied) == [()] * 11 + [NAMES]


def test_it_goes_on_from_where_an_older_one_left_off(connection: psycopg.Connection) -> None:
    first = all_migrations()[0]
    connection.execute(first.sql.encode())
    connection.execute("CREATE TABLE crm_assets_schema_version (version integer, name text)")
    connection.execute("INSERT INTO crm_assets_schema_version VALUES (1, 'sessions')")
    assert migrate(connection) == NAMES[1:]


def test_a_newer_one_is_refused(connection: psycopg.Connection, empty_database: str) -> None:
    migrate(connection)
    connection.execute("INSERT INTO crm_assets_schema_version VALUES (99, 'tomorrow')")
    with pytest.raises(InfrastructureError) as caught, TelemetryStore(empty_database):
        pass
    assert str(caught.value) == (
        f"The telemetry tables of database {connection.info.dbname!r} are version 99, made by a newer "
        f"crm_assets than this one (version {LATEST}); upgrade crm_assets or set STORAGE__DATABASE_URL to "
        "another database."
    )
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert eventually(lambda: connection.execute(others).fetchone() == (1,)), "nothing stays connected"


def test_one_that_fails_leaves_nothing_behind(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*all_migrations(), Migration(LATEST + 1, "broken", "SELECT nothing FROM nowhere"))
    monkeypatch.setattr("crm_assets.atlas.telemetry.schema.all_migrations", lambda: broken)
    with pytest.raises(InfrastructureError, match=r"could not be set up \(.*nowhere.*\); set STORAGE__"):
        migrate(connection)
    assert telemetry_version(connection) is None
    assert columns_of(connection, "sessions") == set()


# What an early SDK made: no rewards, no reviews, a table of its own.
EARLY_SDK = """
CREATE TABLE sessions (id serial PRIMARY KEY, task text NOT NULL, status text NOT NULL DEFAULT 'running',
    metadata jsonb, final_answer text, created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz);
CREATE TABLE plans (session_id integer PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    plan jsonb NOT NULL);
CREATE TABLE step_results (session_id integer REFERENCES sessions(id) ON DELETE CASCADE,
    step_id integer NOT NULL, trace text, output text, evaluation jsonb, attempts integer,
    PRIMARY KEY (session_id, step_id));
CREATE TABLE persona_memory (memory_id uuid PRIMARY KEY);
CREATE INDEX sessions_created_at_idx ON sessions (created_at DESC);
INSERT INTO sessions (task, status, metadata)
VALUES ('An old task', 'succeeded', '{"learning_key": "old"}');
INSERT INTO plans VALUES (1, '{"steps": []}');
"""


def test_the_sdk_s_own_tables_are_adopted(connection: psycopg.Connection, empty_database: str) -> None:
    connection.execute(EARLY_SDK.encode())
    assert migrate(connection) == NAMES
    for table, names in COLUMNS.items():
        assert columns_of(connection, table) == set(names.split()), table
    assert columns_of(connection, "persona_memory") == {"memory_id"}
    assert connection.execute("SELECT task, review_status FROM sessions").fetchall() == [
        ("An old task", "pending")
    ]
    with TelemetryStore(empty_database) as store:
        store.persist(store.begin(start()), end())
        assert [past.score for past in store.past_sessions("old", 5)] == [None]
    assert connection.execute("SELECT count(*) FROM step_results").fetchone() == (5,)


def test_who_may_not_make_tables_is_told_what_to_do(empty_database: str) -> None:
    user = f"crm_user_{uuid4().hex[:8]}"
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
        try:
            with (
                pytest.raises(InfrastructureError) as caught,
                TelemetryStore(make_conninfo(empty_database, user=user)),
            ):
                pass
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
    assert f'have an administrator run: GRANT CREATE ON SCHEMA public TO "{user}"' in str(caught.value)


def test_tables_that_somebody_holds_are_waited_for_but_not_for_ever(
    connection: psycopg.Connection, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_assets.atlas.telemetry.schema._PATIENCE", "100ms")
    connection.execute(EARLY_SDK.encode())
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT * FROM sessions")
        with pytest.raises(InfrastructureError, match=r"^The telemetry tables were locked for 100ms"):
            migrate(connection)
    assert migrate(connection) == NAMES
