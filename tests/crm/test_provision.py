"""Making the sandboxes' schemas: what is ours is kept or made anew, what is not ours is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_assets.crm import SCHEMA_VERSION, SESSION_ROLE, Sandbox, SandboxPool, provision
from crm_assets.crm.provision import is_current, sandbox_version, schema_name
from crm_assets.errors import InfrastructureError


def run(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement.encode())


def version(conninfo: str, schema: str = "sandbox_001") -> str | None:
    with psycopg.connect(conninfo) as admin:
        return sandbox_version(admin, schema)


def open_and_close(conninfo: str) -> None:
    Sandbox.open(conninfo).close()


def name_of(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo)["dbname"])


def test_schema_names() -> None:
    assert [schema_name(slot) for slot in (1, 42, 1000)] == ["sandbox_001", "sandbox_042", "sandbox_1000"]


def test_a_new_database_gets_what_it_needs(own_database: str) -> None:
    assert version(own_database) is None
    open_and_close(own_database)
    assert is_current(version(own_database))
    assert not is_current(None)
    assert not is_current("")


def test_a_current_schema_is_left_as_it_is(own_database: str) -> None:
    open_and_close(own_database)
    with psycopg.connect(own_database) as admin:
        before = admin.execute("SELECT 'sandbox_001.clients'::regclass::oid").fetchone()
        open_and_close(own_database)
        assert admin.execute("SELECT 'sandbox_001.clients'::regclass::oid").fetchone() == before


@pytest.mark.parametrize("comment", [None, "", "someone's", "crm_assets sandbox", "crm_assets sandbox vX"])
def test_a_schema_that_is_not_ours_is_refused(own_database: str, comment: str | None) -> None:
    run(own_database, "CREATE SCHEMA sandbox_001", "CREATE TABLE sandbox_001.precious (x int)")
    if comment is not None:
        run(own_database, f"COMMENT ON SCHEMA sandbox_001 IS $${comment}$$")
    with pytest.raises(InfrastructureError) as caught:
        Sandbox.open(own_database)
    assert str(caught.value) == (
        f"Schema 'sandbox_001' of database {name_of(own_database)!r} was not made by crm_assets; set "
        "DB_NAME to another database."
    )
    run(own_database, "SELECT * FROM sandbox_001.precious")


def test_a_newer_schema_is_refused_and_left_alone(own_database: str) -> None:
    newer = SCHEMA_VERSION + 1
    run(
        own_database,
        "CREATE SCHEMA sandbox_001",
        "CREATE TABLE sandbox_001.precious (x int)",
        f"COMMENT ON SCHEMA sandbox_001 IS 'crm_assets sandbox v{newer} abc'",
    )
    with pytest.raises(InfrastructureError) as caught:
        Sandbox.open(own_database)
    assert str(caught.value) == (
        f"Schema 'sandbox_001' of database {name_of(own_database)!r} is version {newer}, made by a newer "
        f"crm_assets than this one (version {SCHEMA_VERSION}); upgrade crm_assets or set DB_NAME to "
        "another database."
    )
    run(own_database, "SELECT * FROM sandbox_001.precious")


@pytest.mark.parametrize("number", [0, SCHEMA_VERSION])
def test_an_older_or_changed_schema_is_made_anew(own_database: str, number: int) -> None:
    run(
        own_database,
        "CREATE SCHEMA sandbox_001",
        "CREATE TABLE sandbox_001.clients (old int)",
        f"COMMENT ON SCHEMA sandbox_001 IS 'crm_assets sandbox v{number} 000000000000'",
    )
    with SandboxPool(own_database) as pool, pool.lease() as sandbox, sandbox.begin({}) as session:
        assert sandbox.schema == "sandbox_001"
        client = {"name": "N", "email": "n@x.example", "status": "Active"}
        assert session.call("create_new_client", client)["name"] == "N"
    assert is_current(version(own_database))


def test_a_change_of_the_tables_changes_the_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = provision._marker()
    assert marker.startswith(f"crm_assets sandbox v{SCHEMA_VERSION} ")
    monkeypatch.setattr(provision, "_schema_sql", lambda: "CREATE TABLE other ()")
    provision._marker.cache_clear()
    try:
        assert provision._marker() != marker
    finally:
        monkeypatch.undo()
        provision._marker.cache_clear()
    assert provision._marker() == marker


def test_a_schema_appears_whole_or_not_at_all(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_GUARD_FUNCTION", "CREATE NONSENSE")
    with pytest.raises(InfrastructureError, match=r"^The sandbox could not be set up \(.*\); run"):
        Sandbox.open(own_database)
    monkeypatch.undo()
    assert version(own_database) is None
    open_and_close(own_database)


def test_several_at_once_on_a_new_database(own_database: str) -> None:
    opened: list[Sandbox] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            opened.append(Sandbox.open(own_database))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sandbox in opened:
        sandbox.close()
    assert failures == []
    assert sorted(sandbox.slot for sandbox in opened) == [1, 2, 3, 4]


def test_a_database_of_another_encoding_is_refused(make_database: Callable[..., str]) -> None:
    conninfo = make_database("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    with pytest.raises(InfrastructureError) as caught:
        Sandbox.open(conninfo)
    assert str(caught.value) == (
        f"Database {name_of(conninfo)!r} has the encoding SQL_ASCII, and a sandbox needs UTF8; set DB_NAME "
        "to another database."
    )


def test_the_client_s_encoding_does_not_matter(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with SandboxPool(own_database) as pool, pool.lease() as sandbox, sandbox.begin({}) as session:
        client = {"name": "Ж😀", "email": "n@x.example", "status": "Active"}
        assert session.call("create_new_client", client)["name"] == "Ж😀"


# ------------------------------------------------------------ missing privileges


@pytest.fixture
def make_user(own_database: str, sandbox_conninfo: str) -> Iterator[Callable[..., str]]:
    """Makes users that may log in and little else; the fixture's server must trust local connections."""
    names: list[str] = []

    def make(options: str = "") -> str:
        names.append(f"crm_user_{uuid4().hex[:8]}")
        with psycopg.connect(own_database, autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN " + options + " PASSWORD 'x'").format(
                    sql.Identifier(names[-1])
                )
            )
        return make_conninfo(own_database, user=names[-1], password="x")

    yield make
    with psycopg.connect(own_database, autocommit=True) as admin:
        for name in reversed(names):
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def user_of(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo)["user"])


def administrator_sentence(user: str, role: str = SESSION_ROLE) -> str:
    return (
        f"User {user!r} may not set up the sandbox role; have an administrator run: CREATE ROLE {role} "
        f'NOLOGIN; GRANT {role} TO "{user}"'
    )


@pytest.mark.parametrize("role_exists", [True, False])
def test_a_user_without_the_privileges_is_told_what_an_administrator_has_to_run(
    own_database: str,
    make_user: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    role_exists: bool,
) -> None:
    role = SESSION_ROLE
    if role_exists:
        open_and_close(own_database)
    else:
        role = f"crm_missing_{uuid4().hex[:8]}"
        monkeypatch.setattr(provision, "SESSION_ROLE", role)
    user = make_user()
    with pytest.raises(InfrastructureError) as caught:
        Sandbox.open(user)
    assert str(caught.value) == administrator_sentence(user_of(user), role)


def test_the_role_alone_is_not_enough_to_make_schemas(
    own_database: str, make_user: Callable[..., str]
) -> None:
    open_and_close(own_database)
    run(own_database, "DROP SCHEMA sandbox_001 CASCADE")
    user = make_user()
    name, database = user_of(user), name_of(own_database)
    run(own_database, f'GRANT {SESSION_ROLE} TO "{name}"')
    with pytest.raises(InfrastructureError) as caught:
        Sandbox.open(user)
    assert str(caught.value) == (
        f"User {name!r} may not create schemas in database {database!r}; have an administrator run: GRANT "
        f'CREATE ON DATABASE "{database}" TO "{name}"'
    )
    run(own_database, f'GRANT CREATE ON DATABASE "{database}" TO "{name}"')
    with SandboxPool(user) as pool:
        for _ in range(301):
            with pool.lease() as sandbox, sandbox.begin({}) as session:
                assert session.call("client_search", {}) == []
        assert pool.discarded == 0


def test_who_may_make_roles_needs_no_administrator(
    own_database: str, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a user is made a member of the roles it makes, but from version 16 on may not act as them."""
    role = f"crm_role_{uuid4().hex[:8]}"
    monkeypatch.setattr(provision, "SESSION_ROLE", role)
    from crm_assets.crm import sandbox as sandbox_module

    monkeypatch.setattr(sandbox_module, "SESSION_ROLE", role)
    user = make_user("CREATEROLE")
    run(own_database, f'GRANT CREATE ON DATABASE "{name_of(own_database)}" TO "{user_of(user)}"')
    run(user, f"CREATE ROLE {role} NOLOGIN")  # as if it had been stopped right after this
    try:
        with SandboxPool(user) as pool, pool.lease() as sandbox:
            assert sandbox.query("SELECT current_user::text", ()) == [(role,)]
    except InfrastructureError:
        with psycopg.connect(own_database) as admin:
            assert admin.info.server_version < 16_00_00, "only older servers need an administrator here"
    finally:
        run(own_database, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")
