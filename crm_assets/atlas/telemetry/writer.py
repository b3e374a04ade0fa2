"""Who writes a session, and whether it still lives.

A writer holds an advisory lock on a connection of its own. The server lets go of it when the process
ends, however it ends, so that a running session whose writer's lock is free is nobody's any more. (A
connection pooler in transaction mode would break this: point STORAGE__DATABASE_URL at the server itself.)
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from crm_assets.atlas.telemetry.connections import database_failure, is_alive
from crm_assets.errors import InfrastructureError

__all__ = ["LOCK_SPACE", "Writer"]

# First half of the advisory lock of a writer ("CRMW"); the second is the writer's number.
LOCK_SPACE = 0x43524D57
_CHECK_SECONDS = 5.0
_TRIES = 20


class Writer:
    """One writer; safe to use from several threads."""

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None
        self._checked = 0.0
        self._lock = threading.Lock()
        self._number = _number()

    def identity(self) -> dict[str, Any]:
        """Who it is (`metadata.writer`): its lock is held when this returns.

        Raises:
            InfrastructureError: the database does not answer.
        """
        with self._lock:
            if not self._holds():
                self._hold()
            return {"lock": self._number, "host": socket.gethostname(), "pid": os.getpid()}

    def _holds(self) -> bool:
        if self._connection is None or self._connection.closed:
            return False
        if time.monotonic() - self._checked > _CHECK_SECONDS:
            self._checked = time.monotonic()
            return is_alive(self._connection)
        return True

    def _hold(self) -> None:
        """Take the lock, the same as before if it is free."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._connect()
        self._checked = time.monotonic()
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
        raise InfrastructureError("No writer's lock is free in the telemetry database.")

    def close(self) -> None:
        """Let go of the lock: what still runs is nobody's then."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _number() -> int:
    return random.SystemRandom().randint(1, 2**31 - 1)
