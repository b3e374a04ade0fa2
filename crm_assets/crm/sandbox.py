"""A sandbox: one schema on one long-lived connection, leased to one session at a time.

A session is one transaction on the always-empty base: seeds, a savepoint per tool call, ROLLBACK.
Transaction control goes through `pgconn.exec_`: psycopg forgets its prepared statements at every
ROLLBACK that it sees, and preparing them again would cost more than the whole session.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus

from crm_assets.crm.clock import begin_at
from crm_assets.crm.entities import SEED_ORDER
from crm_assets.crm.errors import ToolError
from crm_assets.crm.fields import Values
from crm_assets.crm.operations import perform, row_as_json
from crm_assets.crm.provision import SESSION_ROLE, drop_schema, schema_name, set_up
from crm_assets.crm.seeds import SeedRows, seed_statement
from crm_assets.crm.tools import find_tool
from crm_assets.database import DatabaseGone, failure
from crm_assets.errors import InfrastructureError, first_line

__all__ = ["Rows", "Sandbox", "Session", "deterministic_ids"]

Rows = dict[str, list[Values]]
"""Rows by table, as JSON values; empty tables are left out."""

_VACUUM_EVERY = 300

_ALL_ROWS = " UNION ALL ".join(
    f"SELECT '{entity.table}', {row_as_json(entity)}::text FROM {entity.table}" for entity in SEED_ORDER
)
_TABLES = ", ".join(entity.table for entity in SEED_ORDER)


def deterministic_ids(seed: str) -> Callable[[], UUID]:
    """Return a source of version 4 UUIDs: the same sequence for the same seed."""
    generator = random.Random(seed)  # noqa: S311  (IDs of a sandbox, no secrets)
    return lambda: UUID(int=generator.getrandbits(128), version=4)


def _utc_today() -> date:
    return datetime.now(timezone.utc).date()


def _day_of(now: datetime | None) -> Callable[[], date]:
    return _utc_today if now is None else now.astimezone(timezone.utc).date


class Sandbox:
    """One schema and its connection. Not for two threads at once."""

    def __init__(self, connection: psycopg.Connection, slot: int) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.slot = slot
        self.schema = schema_name(slot)
        self.sessions = 0
        """Sessions begun so far."""
        self._cleared = 0
        self.base = self.fingerprint()
        """Fingerprint of the base when the sandbox was opened."""

    @classmethod
    def open(cls, conninfo: str, *, first_slot: int = 1) -> Sandbox:
        """Connect, claim the first free slot from `first_slot` on, and create its schema.

        Raises:
            InfrastructureError: the server does not answer, or it refuses.
        """
        try:
            connection = psycopg.connect(
                conninfo,
                autocommit=True,
                connect_timeout=10,
                application_name="crm_assets sandbox",
                client_encoding="utf8",
            )
        except psycopg.OperationalError as error:
            raise DatabaseGone(
                f"The sandbox database does not answer ({first_line(error)}); run `crm-assets doctor`."
            ) from error
        return cls._enter(connection, first_slot)

    @classmethod
    def _enter(cls, connection: psycopg.Connection, first_slot: int) -> Sandbox:
        try:
            return cls(connection, set_up(connection, first_slot))
        except psycopg.Error as error:
            connection.close()
            message = f"The sandbox could not be set up ({first_line(error)}); run `crm-assets doctor`."
            raise failure(message, error) from error
        except BaseException:
            connection.close()
            raise

    def next(self) -> Sandbox:
        """Release this slot and return the next free sandbox, on the same connection.

        Raises:
            InfrastructureError: the server does not answer, or it refuses.
        """
        self.control(b"SELECT pg_advisory_unlock_all(); RESET ROLE")
        self._connection.prepare_threshold = None  # as on a new one, for what sets it up
        return self._enter(self._connection, self.slot + 1)

    @property
    def backend_pid(self) -> int:
        """Return the process ID of the connection's server side."""
        return self._connection.info.backend_pid

    def begin(
        self,
        seeds: SeedRows,
        *,
        ids: Callable[[], UUID] = uuid4,
        today: Callable[[], date] | None = None,
        now: datetime | None = None,
    ) -> Session:
        """Begin a session on the empty base, with `seeds` inserted.

        Args:
            seeds: the rows to start from.
            ids: the source of the IDs of new rows.
            today: the day that close dates are compared with; default: the clock's, in UTC.
            now: the fixed time of the session's clock, with its time zone; default: the server's time.
        """
        self.sessions += 1
        return Session(self, seeds, ids, today or _day_of(now), now)

    def fingerprint(self) -> str:
        """Return the hex SHA-256 of every row of the base; equal fingerprints mean equal contents."""
        rows = sorted(f"{table} {row}" for table, row in self.query(_ALL_ROWS, ()))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def is_clean(self) -> bool:
        """Return True if the base is unchanged since the sandbox was opened, and no session is open."""
        if self._connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        return self.fingerprint() == self.base

    def maintain(self) -> None:
        """Vacuum aborted rows every 300 sessions; they slow down every scan."""
        if self.sessions - self._cleared >= _VACUUM_EVERY:
            self._cleared = self.sessions
            self.control(b"RESET ROLE")
            # TRUNCATE FALSE: returning pages would need an exclusive lock and gain nothing.
            self.control(f"VACUUM (TRUNCATE FALSE, INDEX_CLEANUP ON) {_TABLES}".encode())
            self.control(f"SET ROLE {SESSION_ROLE}".encode())

    def control(self, command: bytes) -> None:
        """Send a command past psycopg.

        Raises:
            InfrastructureError: the server refused it.
        """
        result = self._connection.pgconn.exec_(command)
        if result.status != ExecStatus.COMMAND_OK:
            reason = first_line(result.error_message.decode(errors="replace").strip() or "no reason")
            state = result.error_field(DiagnosticField.SQLSTATE)
            gone = not self.is_connected or state is None or state.startswith((b"08", b"57P"))
            kind = DatabaseGone if gone else InfrastructureError
            raise kind(f"The sandbox database refused {command.decode()} ({reason}).")

    def query(self, query: str, parameters: Sequence[object]) -> list[Any]:
        """Return the rows of a prepared statement.

        Raises:
            psycopg.Error: unchanged; the caller knows what it means.
        """
        cursor = self._cursor
        cursor.execute(query.encode(), parameters, prepare=True)
        return cursor.fetchall()

    @property
    def in_transaction_error(self) -> bool:
        """Return True if the open transaction has failed and needs a rollback."""
        return self._connection.pgconn.transaction_status == TransactionStatus.INERROR

    @property
    def is_connected(self) -> bool:
        """Return True if the connection is usable."""
        return not self._connection.closed and not self._connection.broken

    def close(self) -> None:
        """Disconnect and release the slot; the server rolls back an open session."""
        self._connection.close()

    def destroy(self) -> None:
        """Remove the schema and disconnect: for a sandbox whose base has changed."""
        try:
            if self.is_connected:
                self._connection.pgconn.exec_(b"ROLLBACK")
                self.control(b"RESET ROLE")
                drop_schema(self._connection, self.schema)
        finally:
            self.close()


class Session:
    """One conversation's transaction; as a context manager it rolls everything back at the end."""

    def __init__(
        self,
        sandbox: Sandbox,
        seeds: SeedRows,
        ids: Callable[[], UUID],
        today: Callable[[], date],
        now: datetime | None,
    ) -> None:
        self._sandbox = sandbox
        self.new_id = ids
        self.today = today
        self._savepoint = b"SAVEPOINT turn"
        self._saved = False
        sandbox.control(b"BEGIN" if now is None else begin_at(now))
        try:
            if seeds:
                sandbox.query(
                    seed_statement(tuple(seeds)), [orjson.dumps(rows).decode() for rows in seeds.values()]
                )
        except psycopg.Error as error:
            if sandbox.is_connected:
                sandbox.control(b"ROLLBACK")
            raise failure(f"Seeding failed: {first_line(error)}", error) from error

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def call(self, name: str, arguments: Mapping[str, object]) -> Any:
        """Call a tool; return its result as plain JSON values.

        Raises:
            ToolError: the tool refused; seeds and earlier turns are unchanged.
            InfrastructureError: the database failed, whatever the call.
        """
        tool = find_tool(name)
        if not isinstance(arguments, Mapping):
            raise ToolError("validation", f"Tool '{name}' needs its arguments as an object.")
        parsed = tool.validate(arguments)
        self._save()
        try:
            result = perform(self, tool, parsed)
        except ToolError:
            self._undo()
            raise
        except psycopg.Error as error:
            self._undo()
            message = f"The database failed during {name} ({first_line(error)})."
            raise failure(message, error) from error
        if tool.action.writes:
            self._saved = False
        return result

    def fetch(self, query: str, parameters: Sequence[object]) -> str | None:
        """Return the first column of the first row (see `operations.Runner`)."""
        rows = self._sandbox.query(query, parameters)
        return rows[0][0] if rows else None

    def rows(self) -> Rows:
        """Return the current rows of all tables, in no particular order.

        Raises:
            InfrastructureError: the database failed.
        """
        state: Rows = {}
        try:
            rows = self._sandbox.query(_ALL_ROWS, ())
        except psycopg.Error as error:
            message = f"The database failed while reading the state ({first_line(error)})."
            raise failure(message, error) from error
        for table, row in rows:
            state.setdefault(table, []).append(orjson.loads(row))
        return state

    def end(self) -> None:
        """Roll everything back; the base is unchanged."""
        if self._sandbox.is_connected:
            self._sandbox.control(b"ROLLBACK")

    def _save(self) -> None:
        """Set the savepoint for this call, unless only reads came after the last one."""
        if not self._saved:
            self._sandbox.control(self._savepoint)
            self._savepoint = b"RELEASE turn; SAVEPOINT turn"
            self._saved = True

    def _undo(self) -> None:
        if self._sandbox.is_connected:
            self._sandbox.control(b"ROLLBACK TO turn")
