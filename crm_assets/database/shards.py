"""Claims of a run's shards, in Postgres: a step that is delivered twice is done once.

A shard belongs to one start of its step at a time, its owner, and so does each session that it claims. The
owner's heartbeat says how far it is, and tells it of its siblings. An owner that is silent for too long, or
whose process on this machine is gone, is replaced. One that is revoked, as the run is planned anew, stops.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg.types.json import Jsonb

from crm_assets.concurrency import Stop, Stopped, process_lives
from crm_assets.database.lease import LIMIT_SECONDS, LeaseLost
from crm_assets.database.logical import connect_databases
from crm_assets.database.shared_tables import SharedTables
from crm_assets.errors import InfrastructureError
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project

__all__ = ["ShardClaim", "ShardRow", "ShardTable"]

BEAT_SECONDS = 2.0
POLL_SECONDS = 1.0
_SESSIONS_AT_A_TIME = 5000

_IS_LIVING = "owner IS NOT NULL AND heartbeat > now() - make_interval(secs => %(limit)s)"

_ROWS = f"""
SELECT shard, owner, host, pid, {_IS_LIVING} AS is_living, finished, status
FROM crm_assets_shards WHERE project = %(project)s AND folder = %(folder)s ORDER BY shard
"""

_REVOKE = """
UPDATE crm_assets_shards SET revoked = true
WHERE project = %(project)s AND folder = %(folder)s AND owner IS NOT NULL AND shard <> %(kept)s
"""

_CLEAR = """
WITH claims AS (DELETE FROM crm_assets_claims WHERE project = %(project)s AND folder = %(folder)s)
DELETE FROM crm_assets_shards
WHERE project = %(project)s AND folder = %(folder)s AND shard IS DISTINCT FROM %(kept)s
"""

_NOTE = """
INSERT INTO crm_assets_shards (project, folder, shard, status)
VALUES (%(project)s, %(folder)s, %(shard)s, %(status)s)
ON CONFLICT (project, folder, shard) DO UPDATE SET status = excluded.status
"""

_CLAIM = """
INSERT INTO crm_assets_shards AS shard (project, folder, shard, owner, host, pid)
VALUES (%(project)s, %(folder)s, %(shard)s, %(owner)s, %(host)s, %(pid)s)
ON CONFLICT (project, folder, shard) DO UPDATE SET
    owner = excluded.owner, host = excluded.host, pid = excluded.pid, since = now(), heartbeat = now(),
    revoked = false
WHERE NOT shard.finished AND (
    shard.owner IS NULL OR shard.owner IN (excluded.owner, %(dead)s)
    OR shard.heartbeat <= now() - make_interval(secs => %(limit)s)
)
"""

_CLAIM_SESSIONS = f"""
INSERT INTO crm_assets_claims AS claim (project, folder, session, owner)
SELECT %(project)s, %(folder)s, session, %(owner)s FROM unnest(%(sessions)s::text[]) AS session
ON CONFLICT (project, folder, session) DO UPDATE SET owner = excluded.owner
WHERE claim.owner = excluded.owner OR claim.owner NOT IN (
    SELECT owner FROM crm_assets_shards
    WHERE project = %(project)s AND folder = %(folder)s AND {_IS_LIVING}
)
RETURNING session
"""

_BEAT = """
UPDATE crm_assets_shards SET heartbeat = now(), status = %(status)s
WHERE project = %(project)s AND folder = %(folder)s AND shard = %(shard)s
    AND owner = %(owner)s AND NOT revoked
"""

_LEAVE = """
WITH claims AS (
    DELETE FROM crm_assets_claims
    WHERE project = %(project)s AND folder = %(folder)s AND owner = %(owner)s
)
UPDATE crm_assets_shards SET owner = NULL, finished = %(finished)s, status = %(status)s
WHERE project = %(project)s AND folder = %(folder)s AND shard = %(shard)s AND owner = %(owner)s
"""


class ShardRow(NamedTuple):
    """A shard, as its row says."""

    shard: str
    """Its name, or that of another step; empty for the run as a whole."""
    owner: str | None
    host: str | None
    pid: int | None
    is_living: bool
    """Somebody works on it, and was heard of lately."""
    finished: bool
    status: dict[str, Any]
    """Its owner's last word of it."""

    @property
    def is_dead(self) -> bool:
        """Tell whether its owner's process is known to be gone."""
        return self.host == socket.gethostname() and self.pid is not None and not process_lives(self.pid)

    @property
    def is_at_work(self) -> bool:
        """Tell whether somebody works on it, as far as is known."""
        return self.is_living and not self.is_dead

    @property
    def is_shard(self) -> bool:
        """Tell a shard of sessions from the run as a whole, and from its other steps."""
        return self.shard.startswith("shard_")


class ShardTable:
    """The shards of one run."""

    def __init__(self, project: Project, folder: Path) -> None:
        """Connect to nothing yet; `folder` is the run's."""
        self._folder = project.relative(folder)
        self._place = {"project": project_id(project), "folder": self._folder, "limit": LIMIT_SECONDS}
        self._conninfo = connect_databases(project).leases
        self._tables = self.connect()

    def connect(self) -> SharedTables:
        """Return a connection of one's own."""
        return SharedTables(self._conninfo, name="shard", what=f"The shards of {self._folder}")

    @property
    def place(self) -> Mapping[str, Any]:
        """Return the parameters that say which run it is."""
        return self._place

    def close(self) -> None:
        """Close the connection."""
        self._tables.close()

    def rows(self) -> list[ShardRow]:
        """Return what is known of all shards, and of the run as a whole."""
        return [ShardRow(*row) for row in self._tables.execute(_ROWS, self._place)]

    def begin(self, planner: ShardClaim, *, on_wait: Callable[[str], object]) -> None:
        """Forget the shards of earlier starts, once those who still work on them have stopped.

        Args:
            planner: the claim of who begins.
            on_wait: called with a sentence, every few seconds, while they are waited for.
        """
        self._tables.execute(_REVOKE, {**self._place, "kept": planner.shard})
        wait = _Wait(on_wait)
        while living := [row for row in self.rows() if row.is_at_work and row.shard != planner.shard]:
            wait.pause(f"waiting until {_described(living)} of an earlier start stops")
        self._tables.execute(_CLEAR, {**self._place, "kept": planner.shard})

    def note(self, status: Mapping[str, Any]) -> None:
        """Note something of the run as a whole."""
        self._tables.execute(_NOTE, {**self._place, "shard": "", "status": Jsonb(dict(status))})

    def noted(self) -> dict[str, Any]:
        """Return what was noted of the run as a whole; empty if nothing was."""
        return self.status_of("")

    def status_of(self, shard: str) -> dict[str, Any]:
        """Return the status of a shard; empty if there is none."""
        row = self._row(shard)
        return {} if row is None else row.status

    def forget(self) -> None:
        """Remove the rows of the run."""
        self._tables.execute(_CLEAR, {**self._place, "kept": None})

    @contextmanager
    def claim(self, shard: str, *, on_wait: Callable[[str], object]) -> Iterator[ShardClaim | None]:
        """Own a shard for the length of the block; None if it is finished.

        Whoever owns it already is waited for until it has finished it, or given up, or is gone.

        Args:
            shard: its name.
            on_wait: called with a sentence, every few seconds, while somebody else is waited for.

        Raises:
            LeaseLost: somebody else was given it meanwhile.
        """
        claim = ShardClaim(self, shard)
        if not self._take(claim, on_wait):
            yield None
            return
        claim.start()
        try:
            yield claim
        except Stopped as error:
            raise LeaseLost(
                f"{shard} of {self._folder} was given to somebody else, since this process was silent for "
                f"too long or the run was planned anew; what it has finished is kept."
            ) from error
        finally:
            claim.end()

    def _take(self, claim: ShardClaim, on_wait: Callable[[str], object]) -> bool:
        wait = _Wait(on_wait)
        dead: str | None = None
        while self._tables.execute(_CLAIM, {**claim.row, "dead": dead}).rowcount == 0:
            row = self._row(claim.shard)
            if row is not None and row.finished:
                return False
            dead = row.owner if row is not None and row.is_dead else None
            if row is None or dead is not None:
                continue
            wait.pause(f"{_described([row])} works on it already: waiting until it has ended")
        claim.status = self.status_of(claim.shard)
        return True

    def _row(self, shard: str) -> ShardRow | None:
        return next((row for row in self.rows() if row.shard == shard), None)


class ShardClaim(threading.Thread):
    """The ownership of a shard, with its heartbeats."""

    def __init__(self, table: ShardTable, shard: str) -> None:
        super().__init__(name="crm-assets-shard", daemon=True)
        self.shard = shard
        self.stop = Stop()
        """Asked when somebody else was given the shard."""
        self.finished = False
        """Nothing is left to do: for the owner to set."""
        self.status: dict[str, Any] = {}
        """Told to the siblings, and to those who ask."""
        self.row = {
            **table.place,
            "shard": shard,
            "owner": uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self.siblings: list[ShardRow] = []
        """As of the last heartbeat; this shard included."""
        self._tables = table.connect()
        self._alone = threading.Lock()
        self._ended = threading.Event()

    def claim_sessions(self, sessions: Iterable[str], *, on_wait: Callable[[str], object]) -> None:
        """Claim sessions; those of somebody who lives are waited for.

        Args:
            sessions: their keys.
            on_wait: called with a sentence, every few seconds, while somebody else is waited for.

        Raises:
            Stopped: this shard was given to somebody else.
        """
        rest = iter(sessions)
        while some := list(islice(rest, _SESSIONS_AT_A_TIME)):
            wait = _Wait(on_wait)
            while some := self._unclaimed(some):
                wait.pause(f"waiting for {len(some):,} of its sessions, which run elsewhere")
                self.stop.raise_if_asked()

    def _unclaimed(self, sessions: list[str]) -> list[str]:
        with self._alone:
            rows = self._tables.execute(_CLAIM_SESSIONS, {**self.row, "sessions": sessions}).fetchall()
        claimed = {session for (session,) in rows}
        return [session for session in sessions if session not in claimed]

    def run(self) -> None:
        """Write heartbeats until the end."""
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(InfrastructureError):  # a database that is away is asked again
                self.beat()

    def beat(self) -> None:
        """Tell the status, and look at the siblings."""
        with self._alone:
            if not self._tables.execute(_BEAT, self._told()).rowcount:
                self.stop.ask()
                return
            self.siblings = [ShardRow(*row) for row in self._tables.execute(_ROWS, self.row)]

    def end(self) -> None:
        """Give the shard back."""
        self._ended.set()
        self.join()
        with suppress(InfrastructureError):  # of a database that is away; the claim lapses by itself
            self._tables.execute(_LEAVE, {**self._told(), "finished": self.finished})
        self._tables.close()

    def _told(self) -> dict[str, Any]:
        return {**self.row, "status": Jsonb(self.status)}


class _Wait:
    """Pauses between two looks at what somebody else does."""

    def __init__(self, on_wait: Callable[[str], object]) -> None:
        self._on_wait = on_wait
        self._pauses = 0

    def pause(self, words: str) -> None:
        """Wait a moment; say why before every tenth time."""
        if self._pauses % 10 == 0:
            self._on_wait(words)
        self._pauses += 1
        time.sleep(POLL_SECONDS)


def _described(rows: list[ShardRow]) -> str:
    return ", ".join(f"process {row.pid} on {row.host}" for row in rows)
