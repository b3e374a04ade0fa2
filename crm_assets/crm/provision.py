"""Makes a sandbox's schema: tables, the commit guard, and a role that owns none of it.

Sandboxes are schemas `sandbox_001`, `sandbox_002`, … of the sandbox database. A schema's comment says
which version of these tables it holds; a schema of ours with an older one holds nothing worth keeping
(the base is always empty) and is made anew.
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
    "schema_name",
    "schema_version",
]

SCHEMA_VERSION = 1
"""Raise it with every change that a running older crm_assets could not work on."""

SESSION_ROLE = "crm_assets_session"
"""The role sessions act as: it may read and write rows, and owns nothing."""

_MARKER = "crm_assets sandbox"
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
    """Name of the sandbox schema with this number (from 1)."""
    return f"sandbox_{slot:03d}"


def ensure_session_role(connection: psycopg.Connection) -> None:
    """Make the session role and let the connected user take it on.

    Raises:
        InfrastructureError: the user may not; the sentence says what an administrator has to run.
    """
    # From version 16 on, who makes a role is a member of it, but one that may not act as it.
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
        ensure_session_role(connection)  # another process was quicker; see what is left to do
    except psycopg.errors.InsufficientPrivilege as error:
        raise InfrastructureError(
            f"User {user!r} may not set up the sandbox role; have an administrator run: CREATE ROLE "
            f'{SESSION_ROLE} NOLOGIN; GRANT {SESSION_ROLE} TO "{user}"'
        ) from error


def schema_version(connection: psycopg.Connection, schema: str) -> str | None:
    """The comment of `schema`; "" where it has none, None where there is no such schema."""
    row = connection.execute(
        "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s",
        (schema,),
    ).fetchone()
    return None if row is None else str(row[0])


def is_current(version: str | None) -> bool:
    """Whether a schema's comment is that of the tables this code works on."""
    return version == _marker()


def ensure_schema(connection: psycopg.Connection, schema: str) -> None:
    """Make sure that `schema` holds this version's empty tables; the caller holds its slot.

    Raises:
        InfrastructureError: something else lives there, or a newer crm_assets made it.
    """
    version = schema_version(connection, schema)
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
