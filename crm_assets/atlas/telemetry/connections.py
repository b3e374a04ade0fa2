"""Connections to the telemetry database, shared by the threads of a process."""

from __future__ import annotations

import logging
import time

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool, PoolTimeout

from crm_assets.database import DatabaseGone, connect_creating, failure
from crm_assets.errors import ConfigError, InfrastructureError, first_line, last_line

__all__ = ["Connection", "Connections", "check_if_idle", "database_failure"]

_CONNECT_SECONDS = 10
_PATIENCE_SECONDS = 60.0
"""Longest wait for a connection while all are in use."""
_ATTEMPT_SECONDS = 1.0
"""Wait after which a caller asks whether connecting fails."""
_IDLE_SECONDS = 5.0
"""A connection that was idle for longer is checked before it is used."""

# It logs each failed attempt to connect; callers get the reason as an exception.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class Connection(psycopg.Connection[TupleRow]):
    """A connection that knows when it was last checked."""

    checked_at = 0.0
    """Value of `time.monotonic`, seconds."""


class Connections(ConnectionPool[Connection]):
    """Open connections when they are needed, keep them, and lend them to threads (`connection`).

    They are in autocommit mode; their transactions are READ COMMITTED, their JSON is read by orjson.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        min_connections: int,
        max_connections: int,
        statement_timeout_seconds: float,
    ) -> None:
        """Prepare the pool; `open` starts it, once.

        Raises:
            ConfigError: `conninfo` is invalid. The message does not contain its password.
        """
        self._address = _address(conninfo)
        self._statement_timeout = f"{statement_timeout_seconds * 1000:.0f}"
        super().__init__(
            self._address,
            connection_class=Connection,
            kwargs={"autocommit": True},
            configure=self._configure_connection,
            check=check_if_idle,
            min_size=min_connections,
            max_size=max_connections,
            reconnect_timeout=0.0,  # the next caller that waits starts the next attempt
            open=False,
        )

    def _configure_connection(self, connection: Connection) -> None:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        set_json_loads(orjson.loads, connection)
        # Not by the option of the address: connection poolers refuse that.
        connection.execute("SELECT set_config('statement_timeout', %s, false)", (self._statement_timeout,))
        connection.checked_at = time.monotonic()

    def connect(self) -> Connection:
        """Open a connection outside the pool, for the caller to close.

        Raises:
            DatabaseGone: the database does not answer. The message does not contain the password.
        """
        try:
            connection = connect_creating(
                self._address, lambda: Connection.connect(self._address, autocommit=True)
            )
            self._configure_connection(connection)
        except psycopg.OperationalError as error:
            raise DatabaseGone(
                f"The telemetry database does not answer ({_reason(error, self._address)}); correct "
                "STORAGE__DATABASE_URL or start its server."
            ) from None  # psycopg's own text may hold parts of the address
        return connection

    def getconn(self, timeout: float | None = None) -> Connection:
        """Take a connection out of the pool; wait while all are in use.

        The pool connects in the background and reports no failure. So a caller that waits while attempts
        fail connects itself, which raises the reason.

        Args:
            timeout: longest wait, seconds; by default a minute.

        Raises:
            InfrastructureError: the database does not answer, or all connections stayed in use.
        """
        patience = _PATIENCE_SECONDS if timeout is None else timeout
        give_up_at = time.monotonic() + patience
        while True:
            failures = self._failed_attempts()
            try:
                return super().getconn(min(_ATTEMPT_SECONDS, patience))
            except PoolTimeout:
                if self._failed_attempts() > failures:
                    self.connect().close()
            if time.monotonic() >= give_up_at:
                raise InfrastructureError(
                    f"All {self.max_size} connections to the telemetry database were busy for "
                    f"{patience:.0f} s; raise storage.max_connections."
                )

    def _failed_attempts(self) -> int:
        return self.get_stats().get("connections_errors", 0)


def check_if_idle(connection: Connection) -> None:
    """Ask the server whether a connection still works, if that was not known a moment ago.

    Raises:
        psycopg.OperationalError: it does not.
    """
    if time.monotonic() - connection.checked_at > _IDLE_SECONDS:
        ConnectionPool.check_connection(connection)
        connection.checked_at = time.monotonic()


def _address(conninfo: str) -> str:
    try:
        address = make_conninfo(
            conninfo, connect_timeout=_CONNECT_SECONDS, application_name="crm_assets telemetry"
        )
    except psycopg.ProgrammingError:
        raise ConfigError(
            "STORAGE__DATABASE_URL must be a URL like postgresql://user:password@host:5432/atlas."
        ) from None  # its text quotes the address, password and all
    if "@" in str(conninfo_to_dict(address).get("host")):
        raise ConfigError(
            "STORAGE__DATABASE_URL has an '@' too many; write one that belongs to a password as %40."
        )
    return address


def _reason(error: psycopg.Error, conninfo: str) -> str:
    text = last_line(error)
    password = str(conninfo_to_dict(conninfo).get("password") or "")
    return text.replace(password, "***") if password else text


def database_failure(error: psycopg.Error) -> InfrastructureError:
    """Return the error that tells the user in one sentence why a statement failed."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return InfrastructureError(
            "The telemetry database took too long; raise storage.statement_timeout_seconds or look at "
            "what keeps its server busy."
        )
    return failure(f"The telemetry database failed ({first_line(error)}); run `crm-assets doctor`.", error)
