"""The process that writes a session, and the lock that shows that it is alive.

A writer holds an advisory lock on a connection of its own. The server releases it when the process ends,
however it ends, so a running session whose writer's lock is free has lost its process. (A connection
pooler in transaction mode would break this: point STORAGE__DATABASE_URL at the server itself.)
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from crm_assets.atlas.telemetry.connections import Connection, check_if_idle, database_failure
from crm_assets.errors import InfrastructureError

__all__ = ["LOCK_SPACE", "Writer", "WriterIdentity"]

# First half of the advisory lock of a writer ("CRMW"); the second is the writer's number.
LOCK_SPACE = 0x43524D57
_TRIES = 20


@dataclass(frozen=True)
class WriterIdentity:
    """The process that writes a session (`metadata.writer`)."""

    lock: int
    """Second half of its advisory lock."""
    host: str
    pid: int


class Writer:
    """One writer; safe to use from several threads."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._number = _number()

    def identity(self) -> WriterIdentity:
        """Return its identity; its lock is held by then.

        Raises:
            InfrastructureError: the database does not answer.
        """
        with self._lock:
            if not self._holds():
                self._hold()
            return WriterIdentity(self._number, socket.gethostname(), os.getpid())

    def _holds(self) -> bool:
        if self._connection is None or self._connection.closed:
            return False
        try:
            check_if_idle(self._connection)
        except psycopg.OperationalError:
            return False
        return True

    def _hold(self) -> None:
        """Take the lock, the same as before if it is free."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._connect()
        try:
            # A server that closes idle sessions would take this one's lock away.
            self._connection.execute("SET idle_session_timeout TO 0")
            for _ in range(_TRIES):
                row = self._connection.execute(
                    "SELECT pg_try_advisory_lock(%s, %s)", (LOCK_SPACE, self._number)
                ).fetchone()
                if row == (True,):
                    return
                self._number = _number()
        except psycopg.Error as error:
            raise database_failure(error) from error
        raise InfrastructureError("The telemetry database has no free writer lock; try again.")

    def close(self) -> None:
        """Release the lock: sessions that still run are orphans from then on."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _number() -> int:
    return random.SystemRandom().randint(1, 2**31 - 1)
