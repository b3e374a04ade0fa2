"""The telemetry tables: numbered SQL files create and update them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import psycopg

from crm_assets.errors import InfrastructureError, first_line

__all__ = ["Migration", "all_migrations", "migrate", "telemetry_version"]

_TABLE = "crm_assets_schema_version"
_LOCK_SPACE = 0x43524D56  # "CRMV"
_PATIENCE = "60s"


@dataclass(frozen=True)
class Migration:
    """A change of the schema."""

    version: int
    """From 1, without gaps."""
    name: str
    sql: str


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Return all migrations in order, from `migrations/<version>_<name>.sql`."""
    folder = files("crm_assets.atlas.telemetry") / "migrations"
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        stem, dot, ending = file.name.rpartition(".")
        if dot and ending == "sql":
            number, _, name = stem.partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(found)


def telemetry_version(connection: psycopg.Connection) -> int | None:
    """Return the version of a database's last migration; None without crm_assets tables."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (_TABLE,)).fetchone()
    if row != (True,):
        return None
    row = connection.execute(f"SELECT coalesce(max(version), 0) FROM {_TABLE}").fetchone()
    assert row is not None  # an aggregate has one row
    return int(row[0])


def migrate(connection: psycopg.Connection) -> tuple[str, ...]:
    """Apply the missing migrations in one transaction; return their names.

    Safe to call from several processes at once. Existing tables of the Atlas SDK are adopted.

    Args:
        connection: in autocommit mode, READ COMMITTED.

    Raises:
        InfrastructureError: a newer crm_assets made the tables, the user lacks a privilege, or the tables
            are locked.
    """
    try:
        if _is_current(connection):
            return ()
        with connection.transaction():
            return _apply(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        info = connection.info
        raise InfrastructureError(
            f"User {info.user!r} may not set up the telemetry tables in database {info.dbname!r} "
            f"({first_line(error)}); have an administrator run: GRANT CREATE ON SCHEMA public TO "
            f'"{info.user}", and make it the owner of tables that are there.'
        ) from error
    except psycopg.errors.LockNotAvailable as error:
        raise InfrastructureError(
            f"The telemetry tables were locked for {_PATIENCE} while they were to be updated; stop the "
            "programs that use them and try again."
        ) from error
    except psycopg.Error as error:
        raise InfrastructureError(
            f"The telemetry tables of database {connection.info.dbname!r} could not be set up "
            f"({first_line(error)}); set STORAGE__DATABASE_URL to another database."
        ) from error


def _is_current(connection: psycopg.Connection) -> bool:
    """Return True if no migration is missing.

    Raises:
        InfrastructureError: the database is newer than this code.
    """
    there, known = telemetry_version(connection), all_migrations()[-1].version
    if there is not None and there > known:
        raise InfrastructureError(
            f"The telemetry tables of database {connection.info.dbname!r} are version {there}, made by a "
            f"newer crm_assets than this one (version {known}); upgrade crm_assets or set "
            "STORAGE__DATABASE_URL to another database."
        )
    return there == known


def _apply(connection: psycopg.Connection) -> tuple[str, ...]:
    connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    connection.execute("SET LOCAL statement_timeout = 0")  # indexing many sessions takes long
    connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_LOCK_SPACE,))
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_TABLE} (version integer PRIMARY KEY, name text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT now())"
    )
    before = telemetry_version(connection) or 0  # again: another process may have been faster
    wanted = [migration for migration in all_migrations() if migration.version > before]
    for migration in wanted:
        connection.execute(migration.sql.encode())
        connection.execute(
            f"INSERT INTO {_TABLE} (version, name) VALUES (%s, %s)", (migration.version, migration.name)
        )
    return tuple(migration.name for migration in wanted)
