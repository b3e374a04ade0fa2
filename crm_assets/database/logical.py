"""The three logical databases, created if they are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_assets.database.embedded import start_embedded
from crm_assets.database.settings import (
    DAGSTER_DATABASE,
    DEFAULT_OUTAGE_SECONDS,
    TELEMETRY_DATABASE,
    ServerSettings,
    read_environment,
)
from crm_assets.errors import ConfigError, InfrastructureError, last_line
from crm_assets.workspace.project import Project, find_project

__all__ = ["Databases", "connect_creating", "connect_databases", "create_database"]

_Connection = TypeVar("_Connection")

_CONNECT_TIMEOUT = 10
_BUILTIN_LOCALES_SINCE = 17_00_00


@dataclass(frozen=True)
class Databases:
    """Addresses of the three databases, which exist and answer."""

    sandbox: str
    """psycopg conninfo of the CRM sandbox."""
    telemetry: str
    """psycopg conninfo of the Atlas telemetry."""
    dagster: str
    """SQLAlchemy URL (`postgresql+psycopg2://…`) of Dagster's storage."""
    embedded: bool
    """True if the sandbox is on the project's embedded server."""
    telemetry_is_set: bool = False
    """True if the environment (`STORAGE__DATABASE_URL`) sets `telemetry`."""
    outage_seconds: float = DEFAULT_OUTAGE_SECONDS
    """Time that a run waits for a database that went away (`DB_OUTAGE_SECONDS`)."""

    def telemetry_for(self, configured: str | None) -> str:
        """Return the telemetry database of a run; the environment takes precedence over its configuration.

        Args:
            configured: `storage.database_url` of the configuration.
        """
        return configured if configured and not self.telemetry_is_set else self.telemetry

    @property
    def leases(self) -> str:
        """Return the psycopg URL of the database that leases are in: Dagster's."""
        return self.dagster.replace("postgresql+psycopg2://", "postgresql://", 1)

    @property
    def sandbox_is_local(self) -> bool:
        """Return True if the sandbox is on this machine, so that a statement takes microseconds."""
        host = str(conninfo_to_dict(self.sandbox).get("host") or "")
        return host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")


def connect_databases(
    project: Project | None = None, *, sandbox_url: str = "", telemetry_url: str = ""
) -> Databases:
    """Return the databases; start the embedded server if it is used, create missing databases.

    Args:
        project: their project; left out, that of this process.
        sandbox_url: takes precedence over `DB_HOST` and the other `DB_` variables.
        telemetry_url: takes precedence over `STORAGE__DATABASE_URL`.

    Raises:
        ConfigError: an environment variable is not valid.
        InfrastructureError: a server does not answer, or a database cannot be created.
    """
    project = project or find_project()
    environment = read_environment(project)
    if sandbox_url:
        environment |= _as_variables(sandbox_url)
    if telemetry_url:
        environment["STORAGE__DATABASE_URL"] = telemetry_url
    settings = ServerSettings.from_environment(environment)
    server = _server_conninfo(project, settings)
    wanted = [settings.sandbox_database]
    if settings.telemetry_url is None:
        wanted.append(TELEMETRY_DATABASE)
    if settings.dagster_url is None:
        wanted.append(DAGSTER_DATABASE)
    _ensure_databases(server, wanted)
    return Databases(
        sandbox=make_conninfo(server, dbname=settings.sandbox_database),
        telemetry=_telemetry_conninfo(server, settings),
        dagster=settings.dagster_url or _sqlalchemy_url(server, DAGSTER_DATABASE),
        embedded=settings.host is None,
        telemetry_is_set=settings.telemetry_url is not None,
        outage_seconds=settings.outage_seconds,
    )


_VARIABLES = {
    "host": "DB_HOST",
    "port": "DB_PORT",
    "user": "DB_USER",
    "password": "DB_PASSWORD",
    "dbname": "DB_NAME",
}


def _as_variables(url: str) -> dict[str, str]:
    """Return a database's address as the variables that say the same."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            "sandbox_url must be a URL like postgresql://user:password@host:5432/crm_sandbox."
        ) from error
    return {variable: str(parts[part]) for part, variable in _VARIABLES.items() if parts.get(part)}


def _server_conninfo(project: Project, settings: ServerSettings) -> str:
    if settings.host is None:
        return start_embedded(project)
    return make_conninfo(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=settings.password,
        dbname="postgres",
    )


def _telemetry_conninfo(server: str, settings: ServerSettings) -> str:
    if settings.telemetry_url is None:
        return make_conninfo(server, dbname=TELEMETRY_DATABASE)
    try:
        return make_conninfo(settings.telemetry_url)
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            "STORAGE__DATABASE_URL must be a URL like postgresql://user:password@host:5432/atlas."
        ) from error


def _ensure_databases(server: str, names: list[str]) -> None:
    """Create those of `names` that the server does not have.

    The server may lack a `postgres` database, and the user the right to create one, if `names` exist: then
    one of them is connected to instead.
    """
    try:
        connection = _connect_any(server, ["postgres", *names])
    except psycopg.OperationalError as error:
        where = conninfo_to_dict(server)
        raise InfrastructureError(
            f"Postgres at {where.get('host')}:{where.get('port')} does not answer ({last_line(error)}); "
            "start it or correct DB_HOST, DB_PORT, DB_USER and DB_PASSWORD."
        ) from error
    with connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s)", (names,)
        ).fetchall()
        for name in sorted(set(names) - {row[0] for row in rows}):
            _create_database(connection, name)


def _connect_any(server: str, names: list[str]) -> psycopg.Connection:
    for name in names[:-1]:
        try:
            return psycopg.connect(server, dbname=name, autocommit=True, connect_timeout=_CONNECT_TIMEOUT)
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error):
                raise
    return psycopg.connect(server, dbname=names[-1], autocommit=True, connect_timeout=_CONNECT_TIMEOUT)


def connect_creating(conninfo: str, connect: Callable[[], _Connection]) -> _Connection:
    """Return what `connect` returns; if its server does not have the database, create that first.

    Args:
        conninfo: the address that `connect` connects to.
        connect: raises `psycopg.OperationalError` if it fails.

    Raises:
        InfrastructureError: the database is missing and cannot be created.
        psycopg.OperationalError: the server does not answer.
    """
    name = str(conninfo_to_dict(conninfo).get("dbname"))
    try:
        return connect()
    except psycopg.OperationalError as error:
        if f'database "{name}" does not exist' not in str(error):
            raise
    create_database(conninfo)
    return connect()


def create_database(conninfo: str) -> None:
    """Create the database that `conninfo` names.

    Raises:
        InfrastructureError: the server does not let this user create it.
    """
    name = str(conninfo_to_dict(conninfo).get("dbname"))
    try:
        connection = psycopg.connect(
            conninfo, dbname="postgres", autocommit=True, connect_timeout=_CONNECT_TIMEOUT
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"Database {name!r} does not exist and cannot be created ({last_line(error)}); create it with "
            f"`createdb {name}`."
        ) from None  # psycopg's own text may hold parts of the address
    with connection:
        _create_database(connection, name)


def _create_database(connection: psycopg.Connection, name: str) -> None:
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if connection.info.server_version >= _BUILTIN_LOCALES_SINCE:
        # Case-insensitive comparison must not depend on the locale of the server.
        statement += sql.SQL(
            " TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
        )
    try:
        connection.execute(statement)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another process was quicker
    except psycopg.errors.InsufficientPrivilege as error:
        raise InfrastructureError(
            f"Database {name!r} does not exist and this user may not create it; have an "
            f"administrator run: CREATE DATABASE {name}"
        ) from error


def _sqlalchemy_url(server: str, database: str) -> str:
    """Return `server` as a URL for SQLAlchemy, with the driver that dagster-postgres needs."""
    parts = conninfo_to_dict(server)
    user = quote(str(parts.get("user") or ""), safe="")
    if parts.get("password"):
        user += ":" + quote(str(parts["password"]), safe="")
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "5432")
    if host.startswith("/"):
        return f"postgresql+psycopg2://{user}@/{database}?{urlencode({'host': host, 'port': port})}"
    if ":" in host:
        host = f"[{host}]"  # an IPv6 address
    return f"postgresql+psycopg2://{user}@{host}:{port}/{database}"
