"""Make a sandbox's schema: tables, the commit guard, and a role that owns none of it.

Sandboxes are schemas `sandbox_001`, `sandbox_002`, … of the sandbox database. A schema's comment says
which version of these tables it holds; a sandbox with an older version is recreated (its base is always
empty, so nothing is lost).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

import psycopg
from psycopg import sql

from crm_assets.crm.entities import SEED_ORDER
from crm_assets.errors import InfrastructureError

__all__ = [
    "SCHEMA_VERSION",
    "SESSION_ROLE",
    "drop_schema",
    "ensure_schema",
    "ensure_session_role",
    "sandbox_version",
    "schema_name",
    "set_up",
]

SCHEMA_VERSION = 1
"""Increase it with every change that a running older crm_assets could not work with."""

SESSION_ROLE = "crm_assets_session"
"""The role of sessions: it may read and write rows, and owns nothing."""

_MARKER = "crm_assets sandbox"
# First half of the advisory lock of a sandbox's slot ("CRMS"); the second half is its number.
_LOCK_SPACE = 0x43524D53
_STATEMENT_TIMEOUT = "30s"
_SET_OPTION_SINCE = 16_00_00

# A deferred trigger that always raises turns every COMMIT of a changed row into an error; TRUNCATE
# fires no row triggers and gets one of its own.
_GUARD_FUNCTION = """
CREATE FUNCTION refuse_to_keep_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a sandbox keeps no rows: sessions end in ROLLBACK';
END $$
"""


@cache
def _schema_sql() -> str:
    return (files("crm_assets.crm") / "schema.sql").read_text()


@cache
def _marker() -> str:
    digest = hashlib.sha256((_schema_sql() + _GUARD_FUNCTION).encode()).hexdigest()[:12]
    return f"{_MARKER} v{SCHEMA_VERSION} {digest}"


def schema_name(slot: int) -> str:
    """Return the name of the sandbox schema with this number (from 1)."""
    return f"sandbox_{slot:03d}"


def set_up(connection: psycopg.Connection, first_slot: int) -> int:
    """Claim the first free slot from `first_slot` on and make it ready; return its number.

    The connection ends up in the slot's schema, as the session role.

    Raises:
        InfrastructureError: the database has another encoding, or the user lacks a privilege.
        psycopg.Error: the server failed.
    """
    _refuse_other_encodings(connection)
    slot = _claim_slot(connection, first_slot)
    ensure_session_role(connection)
    ensure_schema(connection, schema_name(slot))
    _enter(connection, schema_name(slot))
    return slot


def ensure_session_role(connection: psycopg.Connection) -> None:
    """Create the session role and grant it to the connected user.

    Raises:
        InfrastructureError: the user lacks the privilege; the message gives the administrator's commands.
    """
    # From version 16 on, the creator of a role is a member of it that may not act as it.
    privilege = "SET" if connection.info.server_version >= _SET_OPTION_SINCE else "MEMBER"
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s), current_user, "
        "CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = %s) "
        "THEN pg_has_role(current_user, %s::text, %s) ELSE false END",
        (*(SESSION_ROLE,) * 3, privilege),
    ).fetchone()
    assert row is not None  # a SELECT without FROM has one row
    exists, user, member = row
    role = sql.Identifier(SESSION_ROLE)
    try:
        if not exists:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        if not member:
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        ensure_session_role(connection)  # another process was quicker; do the rest
    except psycopg.errors.InsufficientPrivilege as error:
        raise InfrastructureError(
            f"User {user!r} may not set up the sandbox role; have an administrator run: CREATE ROLE "
            f'{SESSION_ROLE} NOLOGIN; GRANT {SESSION_ROLE} TO "{user}"'
        ) from error


def sandbox_version(connection: psycopg.Connection, schema: str) -> str | None:
    """Return the comment of `schema`: "" if it has none, None if there is no such schema."""
    row = connection.execute(
        "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s",
        (schema,),
    ).fetchone()
    return None if row is None else str(row[0])


def is_current(version: str | None) -> bool:
    """Return True if a schema's comment is that of this code's tables."""
    return version == _marker()


def ensure_schema(connection: psycopg.Connection, schema: str) -> None:
    """Ensure that `schema` holds this version's empty tables; the caller holds its slot.

    Raises:
        InfrastructureError: the schema is not a sandbox, or a newer crm_assets made it.
    """
    version = sandbox_version(connection, schema)
    if is_current(version):
        return
    if version is not None:
        _refuse_foreign(version, schema, connection.info.dbname)
        drop_schema(connection, schema)
    try:
        with connection.transaction():
            _create_schema(connection, schema)
    except psycopg.errors.InsufficientPrivilege as error:
        raise InfrastructureError(
            f"User {connection.info.user!r} may not create schemas in database "
            f"{connection.info.dbname!r}; have an administrator run: GRANT CREATE ON DATABASE "
            f'"{connection.info.dbname}" TO "{connection.info.user}"'
        ) from error


def _refuse_foreign(version: str, schema: str, database: str) -> None:
    name, _, rest = version.partition(" v")
    number = rest.partition(" ")[0]
    if name != _MARKER or not number.isdigit():
        raise InfrastructureError(
            f"Schema {schema!r} of database {database!r} was not made by crm_assets; set DB_NAME to "
            "another database."
        )
    if int(number) > SCHEMA_VERSION:
        raise InfrastructureError(
            f"Schema {schema!r} of database {database!r} is version {number}, made by a newer "
            f"crm_assets than this one (version {SCHEMA_VERSION}); upgrade crm_assets or set DB_NAME "
            "to another database."
        )


def _create_schema(connection: psycopg.Connection, schema: str) -> None:
    name, role = sql.Identifier(schema), sql.Identifier(SESSION_ROLE)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
    connection.execute(_schema_sql().encode())
    connection.execute(_GUARD_FUNCTION.encode())
    for entity in SEED_ORDER:
        connection.execute(
            sql.SQL(
                "CREATE CONSTRAINT TRIGGER never_commit AFTER INSERT OR UPDATE OR DELETE ON {table} "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_to_keep_rows()"
            ).format(table=sql.Identifier(entity.table))
        )
        connection.execute(
            sql.SQL(
                "CREATE TRIGGER never_truncate BEFORE TRUNCATE ON {table} "
                "EXECUTE FUNCTION refuse_to_keep_rows()"
            ).format(table=sql.Identifier(entity.table))
        )
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name, role))
    connection.execute(
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}").format(name, role)
    )
    connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(name, sql.Literal(_marker())))


def drop_schema(connection: psycopg.Connection, schema: str) -> None:
    """Remove a sandbox's schema."""
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _refuse_other_encodings(connection: psycopg.Connection) -> None:
    """Raise InfrastructureError unless the database is UTF-8, which holds every text a tool accepts."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InfrastructureError(
            f"Database {connection.info.dbname!r} has the encoding {encoding}, and a sandbox needs UTF8; "
            "set DB_NAME to another database."
        )


def _claim_slot(connection: psycopg.Connection, first: int) -> int:
    """Lock the first free slot for the life of the connection; return its number."""
    slot = first
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, slot)).fetchone()
        if row is not None and row[0]:
            return slot
        slot += 1


def _enter(connection: psycopg.Connection, schema: str) -> None:
    """Set the connection's schema, limits and role; the role owns nothing."""
    # Nothing is committed here, so no commit is worth waiting for.
    settings = sql.SQL(
        "SET search_path TO {}; SET timezone TO 'UTC'; SET statement_timeout TO {}; "
        "SET synchronous_commit TO off; SET ROLE {}"
    )
    connection.execute(
        settings.format(
            sql.Identifier(schema), sql.Literal(_STATEMENT_TIMEOUT), sql.Identifier(SESSION_ROLE)
        )
    )
    connection.prepare_threshold = 0
