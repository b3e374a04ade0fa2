"""Leases: one a run's folder, so that no two commands change the same files at a time.

A lease is a row in the database of Dagster's storage, which every process of the project reaches whatever a
run's configuration or the launchpad say. It belongs to a holder: a command, or a run of Dagster with all of
its stages, processes and retries; processes that name the holder work under its lease. While one works, the
row's heartbeat goes on. A holder that is silent for too long, or whose process on this machine is gone, is
replaced by the next one; it notices with its next heartbeat, and stops.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.rows import TupleRow

from crm_assets.concurrency import process_lives
from crm_assets.database.logical import connect_creating, connect_databases
from crm_assets.database.outage import failure, is_gone
from crm_assets.errors import InfrastructureError, InputError, first_line
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project

__all__ = ["InUse", "LeaseLost", "a_command", "hold", "make_lease_table"]

HEARTBEAT_SECONDS = 5.0
LIMIT_SECONDS = 60.0
"""Silence after which a holder counts as dead."""
_PATIENCE_SECONDS = 10
_LOCK = 0x43524D4C  # "CRML"

_MAKE = """
CREATE TABLE IF NOT EXISTS crm_assets_leases (
    project text NOT NULL,        -- its identity: several may share a database
    folder text NOT NULL,         -- of the run, in the project
    holder text NOT NULL,
    host text NOT NULL,
    pid integer,                  -- the process that works; null between two stages
    since timestamptz NOT NULL DEFAULT now(),
    heartbeat timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, folder)
)
"""

_TAKE = """
INSERT INTO crm_assets_leases AS lease (project, folder, holder, host, pid)
VALUES (%(project)s, %(folder)s, %(holder)s, %(host)s, %(pid)s)
ON CONFLICT (project, folder) DO UPDATE SET
    holder = excluded.holder, host = excluded.host, pid = excluded.pid, heartbeat = excluded.heartbeat,
    since = CASE WHEN lease.holder = excluded.holder THEN lease.since ELSE excluded.since END
WHERE lease.holder = excluded.holder
    OR lease.heartbeat < now() - make_interval(secs => %(limit)s)
    OR (lease.holder, lease.host, lease.pid) = (%(dead_holder)s, %(host)s, %(dead_pid)s)
"""

_LOOK = """
SELECT holder, host, pid, since, extract(epoch FROM now() - heartbeat)::float AS silent_seconds
FROM crm_assets_leases WHERE project = %(project)s AND folder = %(folder)s
"""

_PAUSE = """
UPDATE crm_assets_leases SET pid = NULL, heartbeat = now()
WHERE project = %(project)s AND folder = %(folder)s AND holder = %(holder)s
"""

_RELEASE = """
DELETE FROM crm_assets_leases
WHERE project = %(project)s AND folder = %(folder)s AND holder = %(holder)s
"""


class InUse(InputError):
    """Somebody else works on the files."""


class LeaseLost(InfrastructureError):
    """The holder was silent for too long, and somebody else has taken its lease."""


@dataclass(frozen=True)
class _Held:
    """A lease, as its row says."""

    holder: str
    host: str
    pid: int | None
    since: datetime
    silent_seconds: float

    @property
    def is_dead(self) -> bool:
        """Return True if its process is known to be gone."""
        return self.host == socket.gethostname() and self.pid is not None and not process_lives(self.pid)

    def describe(self, folder: str) -> str:
        """Return who holds it, in a sentence that says what to do."""
        since = f"since {self.since.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
        where = f"on {self.host}" if self.pid is None else f"process {self.pid} on {self.host}"
        text = f"{folder} is in use by {self.holder} ({where}, {since}): wait until it ends, or stop it"
        if self.silent_seconds > 2 * HEARTBEAT_SECONDS:
            left = LIMIT_SECONDS - self.silent_seconds
            text += (
                f"; it has been silent for {self.silent_seconds:.0f} s, and if it stays so, the same "
                f"command works in {max(1.0, left):.0f} s"
            )
        return f"{text}."


_HELD: ContextVar[frozenset[tuple[str, str]]] = ContextVar("leases", default=frozenset())
"""The leases that are held around the current code."""


def a_command() -> str:
    """Return the name of a holder: a command, not a run of Dagster."""
    return f"crm-assets, command {uuid4().hex[:8]}"


@contextmanager
def hold(project: Project, folder: Path, holder: str, *, keep: bool = False) -> Iterator[None]:
    """Hold the lease of a run's folder within the block; within a block that holds it, do nothing.

    Args:
        project: whose run it is.
        folder: of the run; it need not exist.
        holder: a unique name, which those who are refused read.
        keep: where the block succeeds, keep the lease for the holder's next stage, for a minute at most.

    Raises:
        InUse: another holder has it.
        LeaseLost: another holder has taken it since. The main thread is interrupted for that.
        DatabaseGone: the database does not answer.
    """
    place = (project_id(project), project.relative(folder))
    outer = _HELD.get()
    if place in outer:
        yield
        return
    lease = _Lease(connect_databases(project).leases, place, holder)
    lease.take()
    token = _HELD.set(outer | {place})
    heart = _Heart(lease)
    heart.start()
    kept = False
    try:
        yield
        kept = keep
    finally:
        heart.end()
        _HELD.reset(token)
        if heart.lost:
            raise lease.lost() from None  # rather than the interrupt that it caused
        lease.leave(keep=kept)


class _Lease:
    """The row of one lease, as one holder sees it, on one connection."""

    def __init__(self, conninfo: str, place: tuple[str, str], holder: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._folder = place[1]
        self._row: dict[str, str | int | float | None] = {
            "project": place[0],
            "folder": place[1],
            "holder": holder,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "limit": LIMIT_SECONDS,
            "dead_holder": None,
            "dead_pid": None,
        }

    def take(self) -> None:
        """Take the lease; the holder's own is renewed.

        Raises:
            InUse: another holder has it.
            DatabaseGone: the database does not answer.
        """
        try:
            while not self.beat():
                other = self._look()
                if other is None:
                    continue  # given back in between
                if not other.is_dead:
                    raise InUse(other.describe(self._folder))
                if self.beat(instead_of=other):
                    return
        except BaseException:
            self._close()
            raise

    def beat(self, *, instead_of: _Held | None = None) -> bool:
        """Write the row with a new heartbeat; return False if a holder who counts as alive has it."""
        dead = {"dead_holder": instead_of.holder, "dead_pid": instead_of.pid} if instead_of else {}
        return self._execute(_TAKE, **dead).rowcount == 1

    def leave(self, *, keep: bool) -> None:
        """Give the lease back, or keep it for the holder's next stage."""
        with suppress(InfrastructureError):  # of a database that is away; the row lapses by itself
            self._execute(_PAUSE if keep else _RELEASE)
        self._close()

    def lost(self) -> LeaseLost:
        """Return the error that says who has the lease now."""
        other = None
        with suppress(InfrastructureError):  # that somebody took it is known without the database
            other = self._look()
        self._close()
        return LeaseLost(
            f"The work on {self._folder} was silent for more than {LIMIT_SECONDS:.0f} s, and its lease was "
            f"taken. {other.describe(self._folder) if other else ''}".rstrip()
        )

    def _look(self) -> _Held | None:
        row = self._execute(_LOOK).fetchone()
        return None if row is None else _Held(*row)

    def _execute(self, statement: str, **more: str | int | None) -> psycopg.Cursor[TupleRow]:
        """Execute a statement that may be executed twice; on a new connection where the last one broke.

        Raises:
            DatabaseGone: the database does not answer.
        """
        parameters = {**self._row, **more}
        while True:
            is_new = self._connection is None
            try:
                connection = self._connection = self._connection or self._connect()
                return connection.execute(statement.encode(), parameters)
            except psycopg.Error as error:
                self._close()
                if is_new or not is_gone(error):
                    raise failure(
                        f"The lease of {self._folder} cannot be had: the database of Dagster's storage "
                        f"failed ({first_line(error)}); start its server or correct DAGSTER_DATABASE_URL.",
                        error,
                    ) from error

    def _connect(self) -> psycopg.Connection[TupleRow]:
        connection = connect_creating(
            self._conninfo,
            lambda: psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=_PATIENCE_SECONDS,
                application_name="crm_assets lease",
            ),
        )
        connection.execute(f"SET statement_timeout = '{_PATIENCE_SECONDS}s'")
        make_lease_table(connection)
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make_lease_table(connection: psycopg.Connection[TupleRow]) -> None:
    """Make the table of leases in a database, unless it is there."""
    found = connection.execute("SELECT to_regclass('crm_assets_leases') IS NOT NULL")
    if found.fetchone() != (True,):
        # CREATE … IF NOT EXISTS is not safe against itself; the lock makes it so.
        statement = f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK}); {_MAKE}; COMMIT"
        connection.execute(statement.encode())


class _Heart(threading.Thread):
    """Writes the heartbeats of a lease while work is under way."""

    def __init__(self, lease: _Lease) -> None:
        super().__init__(name="crm-assets-lease", daemon=True)
        self.lost = False
        self._lease = lease
        self._ended = threading.Event()
        self._for_main = threading.current_thread() is threading.main_thread()

    def end(self) -> None:
        """Stop, and wait for a heartbeat that is being written."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Write heartbeats until the end."""
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(InfrastructureError):  # a database that is away is asked again
                self.lost = not self._lease.beat()
            if self.lost:
                if self._for_main and callable(signal.getsignal(signal.SIGINT)):
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return
