"""Connections to the telemetry database, shared by the threads of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_loads

from crm_assets.errors import ConfigError, InfrastructureError, first_line, last_line

__all__ = ["ConnectionPool", "connect", "database_failure"]

_CONNECT_TIMEOUT = 10
_PATIENCE_SECONDS = 60.0
_IDLE_SECONDS = 5.0
"""After so long a connection is asked whether it still lives before it is used."""


def connect(conninfo: str, *, statement_timeout_seconds: float) -> psycopg.Connection:
    """A connection in autocommit mode; its transactions are READ COMMITTED, its JSON read by orjson.

    Raises:
        ConfigError: `conninfo` is no address.
        InfrastructureError: nothing answers there. Neither text holds a password.
    """
    _check_address(conninfo)
    try:
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT,
            application_name="crm_assets telemetry",
        )
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        set_json_loads(orjson.loads, connection)
        # Not by the option of the address: connection poolers refuse that.
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false)",
            (f"{statement_timeout_seconds * 1000:.0f}",),
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"The telemetry database does not answer ({_reason(error, conninfo)}); correct "
            "STORAGE__DATABASE_URL or start its server."
        ) from None  # psycopg's own text may hold parts of the address
    return connection


def _check_address(conninfo: str) -> None:
    try:
        host = conninfo_to_dict(conninfo).get("host")
    except psycopg.ProgrammingError:
        raise ConfigError(
            "STORAGE__DATABASE_URL must be a URL like postgresql://user:password@host:5432/atlas."
        ) from None  # its text quotes the address, password and all
    if "@" in str(host):
        raise ConfigError(
            "STORAGE__DATABASE_URL has an '@' too many; write one that belongs to a password as %40."
        )


def _reason(error: psycopg.Error, conninfo: str = "") -> str:
    text = last_line(error)
    password = str(conninfo_to_dict(conninfo).get("password") or "")
    return text.replace(password, "***") if password else text


def database_failure(error: psycopg.Error) -> InfrastructureError:
    """What a failed statement is to the user: one sentence."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return InfrastructureError(
            "The telemetry database took too long; raise storage.statement_timeout_seconds or look at "
            "what keeps its server busy."
        )
    return InfrastructureError(
        f"The telemetry database failed ({first_line(error)}); run `crm-assets doctor`."
    )


class ConnectionPool:
    """At most `max_connections` connections, opened when needed and kept."""

    def __init__(
        self,
        conninfo: str,
        *,
        min_connections: int,
        max_connections: int,
        statement_timeout_seconds: float,
    ) -> None:
        self._conninfo = conninfo
        self._min, self._max = min_connections, max_connections
        self._timeout = statement_timeout_seconds
        self._idle: list[tuple[psycopg.Connection, float]] = []
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()

    def connect(self) -> psycopg.Connection:
        """A connection beside the pool, for the caller to close."""
        return connect(self._conninfo, statement_timeout_seconds=self._timeout)

    def open(self) -> None:
        """Open the first `min_connections`.

        Raises:
            InfrastructureError: the database does not answer.
        """
        with self._changed:
            self._closed = False
            while self._open < self._min:
                self._idle.append((self.connect(), time.monotonic()))
                self._open += 1

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """A connection for the length of a block; wait while all are out.

        Raises:
            InfrastructureError: none can be opened, or none came back in a minute.
        """
        taken = self._take()
        try:
            yield taken
        finally:
            self._give_back(taken)

    def _take(self) -> psycopg.Connection:
        with self._changed:
            if not self._changed.wait_for(lambda: self._idle or self._open < self._max, _PATIENCE_SECONDS):
                raise InfrastructureError(
                    f"All {self._max} connections to the telemetry database were busy for "
                    f"{_PATIENCE_SECONDS:.0f} s; raise storage.max_connections."
                )
            if not self._idle:
                self._open += 1
                connection = None
            else:
                connection, since = self._idle.pop()
        try:
            if connection is None:
                return self.connect()
            if time.monotonic() - since > _IDLE_SECONDS and not is_alive(connection):
                connection.close()
                return self.connect()
        except BaseException:
            with self._changed:
                self._open -= 1
                self._changed.notify()
            raise
        return connection

    def _give_back(self, connection: psycopg.Connection) -> None:
        with self._changed:
            if self._closed or connection.closed:
                connection.close()
                self._open -= 1
            else:
                self._idle.append((connection, time.monotonic()))
            self._changed.notify()

    def close(self) -> None:
        """Close the idle connections; those that are out close when they come back."""
        with self._changed:
            self._closed = True
            for connection, _ in self._idle:
                with suppress(psycopg.Error):  # it may be broken; it is to go anyway
                    connection.close()
            self._open -= len(self._idle)
            self._idle.clear()


def is_alive(connection: psycopg.Connection) -> bool:
    """Whether the server still answers on `connection`."""
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
