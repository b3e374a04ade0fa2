"""Leases: one a run's folder, so that no two commands change the same files at a time.

A lease is a row of a shared table. It belongs to a holder: a command, or a run of Dagster with all of
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
from crm_assets.database.logical import connect_databases
from crm_assets.database.shared_tables import SharedTables
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import working_on

__all__ = ["InUse", "LeaseLost", "a_command", "hold"]

HEARTBEAT_SECONDS = 5.0
LIMIT_SECONDS = 60.0
"""Silence after which a holder counts as dead."""

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
def hold(
    project: Project, folder: Path, holder: str, *, keep: bool = False, shared: bool = False
) -> Iterator[None]:
    """Hold the lease of a run's folder within the block; within a block that holds it, do nothing.

    Where the artifacts are in a store, the run's files are brought here first, and what was changed is
    uploaded at the end.

    Args:
        project: whose run it is.
        folder: of the run; it need not exist.
        holder: a unique name, which those who are refused read.
        keep: where the block succeeds, keep the lease for the holder's next stage, for a minute at most.
        shared: other processes work under the same lease: keep it also where the block fails, and do not
            count it as given up where this process is gone.

    Raises:
        InUse: another holder has it.
        LeaseLost: another holder has taken it since. The main thread is interrupted for that.
        DatabaseGone: the database does not answer.
        WrittenElsewhere: a file was written both here and elsewhere.
        InfrastructureError: the store does not answer.
    """
    place = (project_id(project), project.relative(folder))
    outer = _HELD.get()
    if place in outer:
        yield
        return
    lease = _Lease(connect_databases(project).leases, place, holder, shared=shared)
    lease.take()
    token = _HELD.set(outer | {place})
    heart = _Heart(lease)
    heart.start()
    kept = False
    try:
        with working_on(project, folder, unless=lambda: heart.lost, shared=shared):
            yield
        kept = keep
    finally:
        heart.end()
        _HELD.reset(token)
        if heart.lost:
            raise lease.lost() from None  # rather than the interrupt that it caused
        lease.leave(keep=kept or shared)


class _Lease:
    """The row of one lease, as one holder sees it, on one connection."""

    def __init__(self, conninfo: str, place: tuple[str, str], holder: str, *, shared: bool) -> None:
        self._folder = place[1]
        self._tables = SharedTables(conninfo, name="lease", what=f"The lease of {self._folder}")
        self._row: dict[str, str | int | float | None] = {
            "project": place[0],
            "folder": place[1],
            "holder": holder,
            "host": socket.gethostname(),
            "pid": None if shared else os.getpid(),
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
            self._tables.close()
            raise

    def beat(self, *, instead_of: _Held | None = None) -> bool:
        """Write the row with a new heartbeat; return False if a holder who counts as alive has it."""
        dead = {"dead_holder": instead_of.holder, "dead_pid": instead_of.pid} if instead_of else {}
        return self._execute(_TAKE, **dead).rowcount == 1

    def leave(self, *, keep: bool) -> None:
        """Give the lease back, or keep it for the holder's next stage."""
        with suppress(InfrastructureError):  # of a database that is away; the row lapses by itself
            self._execute(_PAUSE if keep else _RELEASE)
        self._tables.close()

    def lost(self) -> LeaseLost:
        """Return the error that says who has the lease now."""
        other = None
        with suppress(InfrastructureError):  # that somebody took it is known without the database
            other = self._look()
        self._tables.close()
        return LeaseLost(
            f"The work on {self._folder} was silent for more than {LIMIT_SECONDS:.0f} s, and its lease was "
            f"taken. {other.describe(self._folder) if other else ''}".rstrip()
        )

    def _look(self) -> _Held | None:
        row = self._execute(_LOOK).fetchone()
        return None if row is None else _Held(*row)

    def _execute(self, statement: str, **more: str | int | None) -> psycopg.Cursor[TupleRow]:
        return self._tables.execute(statement, {**self._row, **more})


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
