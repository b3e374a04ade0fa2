"""The tables through which processes of a project agree: leases of runs, their shards, claims of sessions.

They are in the database of Dagster's storage, which every process of the project reaches whatever a run's
configuration or the launchpad say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from crm_assets.database.logical import connect_creating
from crm_assets.database.outage import failure, is_gone
from crm_assets.errors import first_line

__all__ = ["SharedTables", "make_shared_tables"]

PATIENCE_SECONDS = 10
_LOCK = 0x43524D4C  # "CRML"

_MAKE = """
CREATE TABLE IF NOT EXISTS crm_assets_leases (
    project text NOT NULL,        -- its identity: several may share a database
    folder text NOT NULL,         -- of the run, in the project
    holder text NOT NULL,
    host text NOT NULL,
    pid integer,                  -- the process that works; null between two stages, or where several do
    since timestamptz NOT NULL DEFAULT now(),
    heartbeat timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, folder)
);
CREATE TABLE IF NOT EXISTS crm_assets_shards (
    project text NOT NULL,
    folder text NOT NULL,
    shard text NOT NULL,          -- its name; '' for the run as a whole
    owner text,                   -- one start of it; null while nobody works on it
    host text,
    pid integer,
    since timestamptz NOT NULL DEFAULT now(),
    heartbeat timestamptz NOT NULL DEFAULT now(),
    revoked boolean NOT NULL DEFAULT false,      -- its owner is to stop
    finished boolean NOT NULL DEFAULT false,
    status jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (project, folder, shard)
);
CREATE TABLE IF NOT EXISTS crm_assets_claims (
    project text NOT NULL,
    folder text NOT NULL,         -- names dataset and run
    session text NOT NULL,        -- task and epoch
    owner text NOT NULL,          -- of crm_assets_shards
    PRIMARY KEY (project, folder, session)
);
"""


class SharedTables:
    """A connection to the tables, opened when needed, and again where it broke. Not for two threads."""

    def __init__(self, conninfo: str, *, name: str, what: str) -> None:
        """Connect to nothing yet.

        Args:
            conninfo: of the database.
            name: of the connection, as Postgres shows it.
            what: is asked for there, for messages.
        """
        self._conninfo = conninfo
        self._name = name
        self._what = what
        self._connection: psycopg.Connection[TupleRow] | None = None

    def execute(self, statement: str, parameters: Mapping[str, Any]) -> psycopg.Cursor[TupleRow]:
        """Execute a statement that may be executed twice; on a new connection where the last one broke.

        Raises:
            DatabaseGone: the database does not answer.
        """
        while True:
            is_new = self._connection is None
            try:
                connection = self._connection = self._connection or self._connect()
                return connection.execute(statement.encode(), parameters)
            except psycopg.Error as error:
                self.close()
                if is_new or not is_gone(error):
                    raise failure(
                        f"{self._what} cannot be had: the database of Dagster's storage failed "
                        f"({first_line(error)}); start its server or correct DAGSTER_DATABASE_URL.",
                        error,
                    ) from error

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection[TupleRow]:
        connection = connect_creating(
            self._conninfo,
            lambda: psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=PATIENCE_SECONDS,
                application_name=f"crm_assets {self._name}",
            ),
        )
        connection.execute(f"SET statement_timeout = '{PATIENCE_SECONDS}s'")
        make_shared_tables(connection)
        return connection


def make_shared_tables(connection: psycopg.Connection[TupleRow]) -> None:
    """Make the tables in a database, unless they are there."""
    found = connection.execute("SELECT to_regclass('crm_assets_claims') IS NOT NULL")
    if found.fetchone() != (True,):
        # CREATE … IF NOT EXISTS is not safe against itself; the lock makes it so.
        statement = f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK}); {_MAKE}; COMMIT"
        connection.execute(statement.encode())
