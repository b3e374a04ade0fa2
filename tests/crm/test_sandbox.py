"""Sandboxes and their sessions: nothing is kept, nothing is shared, and what goes wrong stays small."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from crm_assets.crm import (
    SESSION_ROLE,
    Sandbox,
    SandboxPool,
    SeedRows,
    Session,
    deterministic_ids,
)
from crm_assets.errors import InfrastructureError
from tests.crm.samples import (
    CLIENT_A,
    CLIENT_B,
    OPPORTUNITY_A,
    QUOTE_A,
    QUOTE_B,
    error_sentence,
    refusal,
    state_of,
)

NEW_CLIENT = {"name": "N", "email": "n@x.example", "status": "Active"}
TABLES = ["clients", "contacts", "opportunities", "quotes", "contracts", "companies", "documents", "notes"]


@pytest.fixture
def own_sandbox(own_database: str) -> Iterator[Sandbox]:
    """A sandbox that a test may spoil."""
    opened = Sandbox.open(own_database)
    yield opened
    opened.close()


def smuggle(conninfo: str, schema: str) -> None:
    """Commit a row past every trigger, as only an administrator can."""
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("SET session_replication_role TO replica")
        admin.execute(
            sql.SQL("INSERT INTO {}.clients (client_id, name, status) VALUES (%s, 'x', 'Active')").format(
                sql.Identifier(schema)
            ),
            (CLIENT_A,),
        )


# ------------------------------------------------------------------- sessions


def test_a_failing_tool_undoes_only_itself(session: Session) -> None:
    seeds = state_of(session)
    created = session.call("create_new_client", NEW_CLIENT)
    kept = state_of(session)
    assert len(kept["clients"]) == len(seeds["clients"]) + 1
    # One that fails before the database is asked, one that the tool refuses, one that a constraint does.
    refusal(session, "create_new_client", name="", email="x@y.example", status="Active")
    refusal(session, "create_new_client", **NEW_CLIENT)
    other = {**NEW_CLIENT, "email": "o@x.example", "client_id": created["client_id"]}
    refusal(session, "create_new_client", **other)
    refusal(session, "modify_quote", quote_id=QUOTE_A, opportunity_id=CLIENT_A)
    refusal(session, "delete_quote", quote_id=CLIENT_A)
    assert state_of(session) == kept
    assert session.call("modify_client", {"client_id": created["client_id"], "phone": "1"})["phone"] == "1"
    assert session.call("delete_quote", {"quote_id": QUOTE_B}) is True
    refusal(session, "create_quote", opportunity_id=CLIENT_A, amount=5, status="Draft")
    assert [quote["quote_id"] for quote in session.call("quote_search", {})] == [QUOTE_A]


def test_a_row_that_a_failed_statement_had_begun_is_gone(session: Session) -> None:
    """The statement inserts first and finds the missing opportunity at its end."""
    before = state_of(session)
    for _ in range(3):
        refusal(session, "create_contract", client_id=CLIENT_A, opportunity_id=CLIENT_A)
        assert state_of(session) == before


def test_reads_between_writes_leave_the_savepoint_good(session: Session) -> None:
    session.call("client_search", {})
    first = session.call("create_new_client", NEW_CLIENT)
    session.call("quote_details", {"quote_id": QUOTE_A})
    session.call("client_search", {})
    refusal(session, "create_new_client", **NEW_CLIENT)
    session.call("client_search", {})
    refusal(session, "create_contract", client_id=CLIENT_A, opportunity_id=CLIENT_A)
    second = session.call("create_new_client", {**NEW_CLIENT, "email": "2@x.example"})
    refusal(session, "create_contract", client_id=CLIENT_A, opportunity_id=CLIENT_A)
    ids = [row["client_id"] for row in session.call("client_search", {})]
    assert ids == [CLIENT_A, CLIENT_B, first["client_id"], second["client_id"]]


def test_a_session_ends_in_rollback_and_the_next_starts_from_its_own_seeds(
    sandbox: Sandbox, seeds: SeedRows
) -> None:
    before = sandbox.fingerprint()
    with sandbox.begin(seeds) as session:
        session.call("create_new_client", NEW_CLIENT)
        session.call("delete_opportunity", {"opportunity_id": OPPORTUNITY_A})
        assert not sandbox.is_clean(), "a session is open"
        assert sandbox.fingerprint() != before
    assert sandbox.is_clean()
    assert sandbox.fingerprint() == before
    with sandbox.begin({}) as session:
        assert session.rows() == {}
    with sandbox.begin(seeds) as session:
        assert len(session.rows()["clients"]) == 2
        assert session.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A})["name"] == "Renewal"


def test_a_session_that_is_left_by_an_error_is_rolled_back_too(sandbox: Sandbox, seeds: SeedRows) -> None:
    with pytest.raises(ZeroDivisionError), sandbox.begin(seeds) as session:
        session.call("create_new_client", NEW_CLIENT)
        raise ZeroDivisionError
    assert sandbox.is_clean()


def test_seeds_that_the_database_refuses_leave_the_sandbox_clean(sandbox: Sandbox) -> None:
    twice: SeedRows = {"Client": [{"client_id": CLIENT_A, "name": "A", "status": "Active"}] * 2}
    with pytest.raises(InfrastructureError, match=r"^Seeding failed: .*duplicate key"):
        sandbox.begin(twice)
    assert sandbox.is_clean()


def test_rows_lists_only_tables_that_hold_some(sandbox: Sandbox, seeds: SeedRows) -> None:
    with sandbox.begin(seeds) as session:
        assert sorted(session.rows()) == sorted(TABLES)
    with sandbox.begin({"Client": seeds["Client"]}) as session:
        assert list(session.rows()) == ["clients"]


def test_deterministic_ids_are_the_same_again_and_distinct(sandbox: Sandbox, seeds: SeedRows) -> None:
    source = deterministic_ids("a")
    made = [source() for _ in range(1000)]
    again = deterministic_ids("a")
    assert made == [again() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {identifier.version for identifier in made} == {4}
    assert deterministic_ids("b")() != made[0]
    for _ in range(2):
        with sandbox.begin(seeds, ids=deterministic_ids("a")) as session:
            assert session.call("create_new_client", NEW_CLIENT)["client_id"] == str(made[0])
            assert session.call("clone_opportunity", {"opportunity_id": OPPORTUNITY_A})[
                "opportunity_id"
            ] == str(made[1])


def test_ids_are_random_unless_told_otherwise(sandbox: Sandbox) -> None:
    ids = set()
    for _ in range(3):
        with sandbox.begin({}) as session:
            ids.add(session.call("create_new_client", NEW_CLIENT)["client_id"])
    assert len(ids) == 3


# --------------------------------------------------------------- fingerprints


def test_a_smuggled_row_changes_the_fingerprint(own_database: str, own_sandbox: Sandbox) -> None:
    before = own_sandbox.fingerprint()
    assert own_sandbox.fingerprint() == before
    smuggle(own_database, own_sandbox.schema)
    assert own_sandbox.fingerprint() != before
    assert not own_sandbox.is_clean()


def test_a_base_with_a_smuggled_row_is_thrown_away_and_counted(own_database: str) -> None:
    with SandboxPool(own_database) as pool:
        sandbox = pool.acquire()
        smuggle(own_database, sandbox.schema)
        assert pool.release(sandbox) is False
        assert pool.discarded == 1
        with pool.lease() as fresh:
            assert fresh is not sandbox
            assert fresh.is_clean()
            with fresh.begin({}) as session:
                assert session.call("client_search", {}) == []
        assert pool.discarded == 1


@pytest.mark.parametrize("table", TABLES)
def test_fingerprints_see_every_table(session: Session, sandbox: Sandbox, table: str) -> None:
    before = sandbox.fingerprint()
    assert session.fetch(f"DELETE FROM {table} RETURNING 'gone'::text", []) == "gone"
    assert sandbox.fingerprint() != before


def test_a_session_left_open_is_not_clean(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database) as pool:
        sandbox = pool.acquire()
        sandbox.begin(seeds)
        assert pool.release(sandbox) is False
        assert pool.discarded == 1


# --------------------------------------------------------------- commit guard


CHANGES = [
    "INSERT INTO clients (client_id, name, status) VALUES ('{new}', 'x', 'Active')",
    "UPDATE clients SET phone = '1'",
    "DELETE FROM notes",
    "INSERT INTO companies (company_id, name, type) VALUES ('{new}', 'x', 'Vendor')",
    "UPDATE quotes SET amount = 5",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_cannot_be_committed(sandbox: Sandbox, seeds: SeedRows, change: str) -> None:
    sandbox.begin(seeds)
    sandbox.query(change.format(new=QUOTE_A) + " RETURNING 1", ())
    with pytest.raises(InfrastructureError, match="a sandbox keeps no rows: sessions end in ROLLBACK"):
        sandbox.control(b"COMMIT")
    assert sandbox.is_clean()


def test_the_seeds_alone_cannot_be_committed_either(sandbox: Sandbox, seeds: SeedRows) -> None:
    sandbox.begin(seeds)
    with pytest.raises(InfrastructureError, match="keeps no rows"):
        sandbox.control(b"COMMIT")
    assert sandbox.is_clean()


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_guarded(sandbox: Sandbox, table: str, seeds: SeedRows) -> None:
    """Outside a transaction a statement commits by itself."""
    sandbox.begin(seeds)
    sandbox.query(f"DELETE FROM {table} RETURNING 1", ())
    with pytest.raises(InfrastructureError, match="keeps no rows"):
        sandbox.control(b"SET CONSTRAINTS ALL IMMEDIATE")
    sandbox.control(b"ROLLBACK")


@pytest.mark.parametrize("table", TABLES)
def test_truncate_is_refused_to_the_session_and_to_the_owner(sandbox: Sandbox, table: str) -> None:
    with pytest.raises(InfrastructureError, match="permission denied"):
        sandbox.control(f"TRUNCATE {table} CASCADE".encode())
    sandbox.control(b"RESET ROLE")
    try:
        with pytest.raises(InfrastructureError, match="keeps no rows"):
            sandbox.control(f"TRUNCATE {table} CASCADE".encode())
    finally:
        sandbox.control(f"SET ROLE {SESSION_ROLE}".encode())


@pytest.mark.parametrize(
    "command",
    [
        "ALTER TABLE {schema}.clients DISABLE TRIGGER ALL",
        "ALTER TABLE {schema}.clients DISABLE TRIGGER never_commit",
        "ALTER TABLE {schema}.clients ADD COLUMN x int",
        "ALTER TABLE {schema}.clients OWNER TO CURRENT_USER",
        "DROP TABLE {schema}.notes",
        "DROP TRIGGER never_commit ON {schema}.clients",
        "DROP FUNCTION {schema}.refuse_to_keep_rows() CASCADE",
        "CREATE OR REPLACE FUNCTION {schema}.refuse_to_keep_rows() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "DROP SCHEMA {schema} CASCADE",
        "ALTER SCHEMA {schema} RENAME TO gone",
        "CREATE TABLE {schema}.kept (x int)",
        "CREATE INDEX ON {schema}.clients (name)",
        "SET session_replication_role TO replica",
        "COMMENT ON SCHEMA {schema} IS 'mine'",
    ],
)
def test_the_session_role_may_change_nothing_but_rows(sandbox: Sandbox, command: str) -> None:
    with pytest.raises(InfrastructureError, match=r"permission denied|must be owner"):
        sandbox.control(command.format(schema=sandbox.schema).encode())
    assert sandbox.is_clean()


def test_the_session_role_owns_nothing(sandbox: Sandbox, sandbox_conninfo: str) -> None:
    assert sandbox.query("SELECT current_user::text", ()) == [(SESSION_ROLE,)]
    with psycopg.connect(sandbox_conninfo) as admin:
        owned = admin.execute(
            "SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = %s::regrole",
            (SESSION_ROLE,),
        ).fetchone()
        attributes = admin.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls FROM pg_roles "
            "WHERE rolname = %s",
            (SESSION_ROLE,),
        ).fetchone()
    assert owned == (0,)
    assert attributes == (False,) * 5


def test_constraint_triggers_can_be_set_immediate_but_not_off(sandbox: Sandbox, seeds: SeedRows) -> None:
    with sandbox.begin(seeds), pytest.raises(InfrastructureError, match="keeps no rows"):
        sandbox.control(b"SET CONSTRAINTS never_commit IMMEDIATE")


# ----------------------------------------------------------------- neighbours


def test_two_sessions_with_the_same_seeds_neither_see_nor_block_each_other(
    shared_pool: SandboxPool, seeds: SeedRows
) -> None:
    with shared_pool.lease() as left, shared_pool.lease() as right:
        assert left.schema != right.schema
        with left.begin(seeds) as one, right.begin(seeds) as two:
            for current in (left, right):
                current.query("SELECT set_config('lock_timeout', '60s', false)", ())
            one.call("modify_client", {"client_id": CLIENT_A, "name": "Left"})
            two.call("modify_client", {"client_id": CLIENT_A, "name": "Right"})
            one.call("delete_opportunity", {"opportunity_id": OPPORTUNITY_A})
            assert two.call("opportunity_details", {"opportunity_id": OPPORTUNITY_A})["name"] == "Renewal"
            same = {**NEW_CLIENT, "client_id": QUOTE_A}
            assert one.call("create_new_client", same) | {"created_date": 0} == two.call(
                "create_new_client", same
            ) | {"created_date": 0}
            assert one.call("client_search", {"name": "left"})
            assert not two.call("client_search", {"name": "left"})
        for current in (left, right):
            current.query("SELECT set_config('lock_timeout', '0', false)", ())


# ----------------------------------------------------------- lost connections


def terminate(conninfo: str, pid: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


ACTIONS: dict[str, Callable[[Sandbox, Session], Any]] = {
    "write": lambda sandbox, session: session.call("create_new_client", NEW_CLIENT),
    "read": lambda sandbox, session: session.call("client_search", {}),
    "state": lambda sandbox, session: session.rows(),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("turns_before", [0, 2])
def test_a_lost_connection_is_the_infrastructure_s_failure(
    own_database: str, seeds: SeedRows, action: str, turns_before: int
) -> None:
    with SandboxPool(own_database) as pool:
        sandbox = pool.acquire()
        session = sandbox.begin(seeds)
        for number in range(turns_before):
            session.call("modify_client", {"client_id": CLIENT_A, "phone": str(number)})
        terminate(own_database, sandbox.backend_pid)
        with pytest.raises(InfrastructureError) as caught:
            ACTIONS[action](sandbox, session)
        assert "\n" not in str(caught.value)
        session.end()  # ends quietly: there is nothing left to roll back
        assert pool.release(sandbox) is False
        assert pool.discarded == 1
        with pool.lease() as fresh, fresh.begin(seeds) as again:
            assert again.call("client_search", {"client_id": CLIENT_A})[0]["phone"] is None
        assert pool.discarded == 1


def test_a_connection_lost_between_sessions(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database) as pool:
        sandbox = pool.acquire()
        terminate(own_database, sandbox.backend_pid)
        with pytest.raises(InfrastructureError):
            sandbox.begin(seeds)
        assert pool.release(sandbox) is False
        with pool.lease() as fresh:
            assert fresh.is_clean()
        assert pool.discarded == 1


def test_a_statement_that_takes_too_long_is_the_infrastructure_s_failure(
    sandbox: Sandbox, seeds: SeedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sandbox.query("SELECT current_setting('statement_timeout')", ()) == [("30s",)]
    with sandbox.begin(seeds) as session:
        kept = session.call("create_new_client", NEW_CLIENT)
        sandbox.control(b"SET LOCAL statement_timeout TO '200ms'")
        fetch = session.fetch
        monkeypatch.setattr(session, "fetch", lambda *_: fetch("SELECT pg_sleep(600)::text", []))
        with pytest.raises(
            InfrastructureError, match=r"^The database failed during client_search \(.*\)\.$"
        ):
            session.call("client_search", {})
        monkeypatch.undo()
        sandbox.control(b"SET LOCAL statement_timeout TO '30s'")
        assert session.call("client_search", {"email": "n@x.example"}) == [kept], "the session goes on"


def test_sessions_in_several_threads_on_sandboxes_of_their_own(
    shared_pool: SandboxPool, seeds: SeedRows
) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(10):
                with shared_pool.lease() as leased, leased.begin(seeds) as session:
                    session.call("modify_client", {"client_id": CLIENT_A, "name": name})
                    assert session.call("client_search", {"name": name})[0]["client_id"] == CLIENT_A
                    assert len(session.call("client_search", {})) == 2
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_day_and_the_moments_are_utc(session: Session, sandbox: Sandbox) -> None:
    assert sandbox.query("SELECT current_setting('TimeZone')", ()) == [("UTC",)]
    note = session.call("add_note", {"entity_type": "Quote", "entity_id": QUOTE_A, "content": "x"})
    assert note["created_at"].endswith("+00:00")


def test_the_same_refusal_is_the_same_sentence_in_every_session(sandbox: Sandbox, seeds: SeedRows) -> None:
    sentences = set()
    for _ in range(3):
        with sandbox.begin(seeds) as session:
            for _ in range(3):
                sentences.add(error_sentence(session, "quote_details", quote_id=CLIENT_A))
    assert sentences == {f"Quote not found with ID '{CLIENT_A}'."}
