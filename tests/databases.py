"""Databases of the tests: lent out, then brought back to the state they were made in.

Making a database takes longer than most tests, since Postgres copies some 300 files; emptying its tables
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.servers import drop_databases
from tests.waiting import eventually

__all__ = ["DatabasePool", "DatabaseState", "bring", "take"]

# By their size, which is quicker than a look into each; a table that lost its rows is emptied, too.
_FILLED = """
SELECT quote_ident(nspname) || '.' || quote_ident(relname)
FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')
    AND pg_relation_size(pg_class.oid) > 0 ORDER BY 1
"""
_SEQUENCES = """
SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), coalesce(last_value, start_value),
    last_value IS NOT NULL FROM pg_sequences ORDER BY 1
"""
# Whatever a test may do to a schema: tables, columns, rights, triggers, functions, constraints. What was
# written anew in the catalog has another xmin; TRUNCATE does so in pg_class alone.
_SCHEMA = """
SELECT sum(hashtext(one)::bigint), count(*) FROM (
    SELECT concat_ws('/', oid, relname, relkind, relacl) AS one FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT concat_ws('/', attrelid, attname, xmin) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT concat_ws('/', oid, xmin) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws('/', oid, xmin) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws('/', oid, xmin) FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT concat_ws('/', oid, xmin) FROM pg_namespace
        WHERE oid >= 16384 AND nspname NOT LIKE 'pg_%temp%'
) AS all_of_it
"""
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
_CONNECTIONS = "SELECT sessions FROM pg_stat_database WHERE datname = %s"  # as many as there ever were


@dataclass(frozen=True)
class DatabaseState:
    """The contents of a database."""

    rows: Mapping[str, bytes]
    """Of each table that has any, in COPY's binary format."""
    sequences: Mapping[str, tuple[int, bool]]
    """Last value of each, and whether it was given out."""


def take(conninfo: str) -> DatabaseState:
    """Return what a database holds."""
    with psycopg.connect(conninfo) as connection:
        return _contents(connection)


def bring(conninfo: str, state: DatabaseState) -> None:
    """Replace what a database holds; nobody else stays connected."""
    with psycopg.connect(conninfo) as connection:
        _disconnect_others(connection)
        _replace(connection, state)


@dataclass(frozen=True)
class _Template:
    name: str
    schema: str
    state: DatabaseState


@dataclass
class DatabasePool:
    """Databases of one kind: `make` makes the first, the others are copies of it."""

    server: str
    kind: str
    make: Callable[[str], None]
    """Makes a database of the name that it is given."""
    _free: list[str] = field(default_factory=list)
    _made: int = 0
    _template: _Template | None = None
    _admin: psycopg.Connection | None = None

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the conninfo of a database as `make` left it."""
        if self._template is None:
            self._template = self._make_template(f"{self.kind}_template")
        lent = self._free.pop() if self._free else self._copy(self._template)
        before = self._connections(lent)
        try:
            yield lent
        finally:
            if before == self._connections(lent) or _renew(lent, self._template):
                self._free.append(lent)
            else:
                drop_databases(self.server, str(conninfo_to_dict(lent)["dbname"]))

    def _connections(self, conninfo: str) -> object:
        """Return what is the same again only if nobody was connected in between."""
        name = (conninfo_to_dict(conninfo)["dbname"],)
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.server, autocommit=True)
        try:
            # In this order: a connection that has ended is counted before it is not shown any more.
            if self._admin.execute(_CONNECTED, name).fetchone() != (0,):
                return object()
            return self._admin.execute(_CONNECTIONS, name).fetchone()
        except psycopg.OperationalError:  # a test ended the server's connections
            self._admin.close()
            return object()

    def _make_template(self, name: str) -> _Template:
        self.make(name)
        with psycopg.connect(self.server, dbname=name) as connection:
            _disconnect_others(connection)  # what somebody is connected to cannot be copied
            return _Template(name, _schema(connection), _contents(connection))

    def _copy(self, template: _Template) -> str:
        self._made += 1
        name = f"{self.kind}_{self._made}"
        with psycopg.connect(self.server, autocommit=True) as admin:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template.name)))
        return make_conninfo(self.server, dbname=name)


def _renew(conninfo: str, template: _Template) -> bool:
    """Bring a database back to what its template was; return False where that takes another copy."""
    try:
        with psycopg.connect(conninfo) as connection:
            _disconnect_others(connection)
            if _schema(connection) != template.schema:
                return False
            _replace(connection, template.state)
    except psycopg.OperationalError:  # a test dropped it
        return False
    return True


def _schema(connection: psycopg.Connection) -> str:
    return str(connection.execute(_SCHEMA).fetchone())


def _disconnect_others(connection: psycopg.Connection) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    def alone() -> bool:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        return connection.execute(f"SELECT count(*) {others}").fetchone() == (0,)

    # With a timeout Postgres itself would wait, but it looks only every 100 ms.
    connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
    assert eventually(alone, every_seconds=0.001), "a connection does not end"


def _filled(connection: psycopg.Connection) -> list[str]:
    """Return the tables that have rows, or had some."""
    return [name for (name,) in connection.execute(_FILLED)]


def _contents(connection: psycopg.Connection) -> DatabaseState:
    rows = {}
    with connection.cursor() as cursor:
        for table in _filled(connection):
            with cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)") as copy:  # type: ignore[arg-type]
                rows[table] = b"".join(bytes(part) for part in copy)
    return DatabaseState(rows, _sequences(connection))


def _sequences(connection: psycopg.Connection) -> dict[str, tuple[int, bool]]:
    return {name: (value, given) for name, value, given in connection.execute(_SEQUENCES)}


def _replace(connection: psycopg.Connection, state: DatabaseState) -> None:
    connection.execute("SET session_replication_role = replica")  # rows come in any order
    if filled := _filled(connection):
        connection.execute(f"TRUNCATE {', '.join(filled)} CASCADE")  # type: ignore[arg-type]
    with connection.cursor() as cursor:
        for table, rows in state.rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:  # type: ignore[arg-type]
                copy.write(rows)
    for name, value in _sequences(connection).items() - state.sequences.items():
        connection.execute("SELECT setval(%s, %s, %s)", (name, *state.sequences.get(name, value)))
