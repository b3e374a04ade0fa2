"""The pool: never more sandboxes than it may have, slots reused, none shared."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from crm_assets.crm import Sandbox, SandboxPool, SeedRows
from crm_assets.crm import pool as pool_module
from crm_assets.errors import InfrastructureError
from tests.waiting import HANG_SECONDS, eventually

NOWHERE = "host=127.0.0.1 port=1 user=nobody dbname=nowhere connect_timeout=2"


def connections(conninfo: str) -> int:
    with psycopg.connect(conninfo, autocommit=True) as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'crm_assets sandbox'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_sandboxes_are_opened_when_needed_and_reused(own_database: str) -> None:
    with SandboxPool(own_database, size=3) as pool:
        assert connections(own_database) == 0
        first = pool.acquire()
        assert connections(own_database) == 1
        assert pool.release(first) is True
        for _ in range(5):
            with pool.lease() as again:
                assert again is first
        assert connections(own_database) == 1
        leased = [pool.acquire() for _ in range(3)]
        assert sorted(sandbox.slot for sandbox in leased) == [1, 2, 3]
        assert connections(own_database) == 3
        for sandbox in leased:
            pool.release(sandbox)
    assert eventually(lambda: connections(own_database) == 0)


def test_an_idle_one_is_had_without_opening_any(own_database: str) -> None:
    with SandboxPool(own_database, size=2) as pool:
        assert pool.acquire_idle() is None
        assert connections(own_database) == 0
        opened = pool.acquire()
        pool.release(opened)
        assert pool.acquire_idle() is opened
        assert pool.acquire_idle() is None
        pool.release(opened)


def test_no_more_than_its_size_are_out_at_once(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_PATIENCE_SECONDS", 0.2)
    with SandboxPool(own_database, size=2) as pool:
        leased = [pool.acquire(), pool.acquire()]
        with pytest.raises(InfrastructureError, match=r"^All 2 sandboxes were busy for 0 s; allow more"):
            pool.acquire()
        pool.release(leased.pop())
        leased.append(pool.acquire())
        for sandbox in leased:
            pool.release(sandbox)
        assert pool.discarded == 0


def test_who_waits_gets_the_next_one_that_comes_back(own_database: str) -> None:
    with SandboxPool(own_database, size=1) as pool:
        sandbox = pool.acquire()
        got: list[Sandbox] = []
        waiting = threading.Thread(target=lambda: got.append(pool.acquire()))
        waiting.start()
        time.sleep(0.05)
        assert got == []
        pool.release(sandbox)
        waiting.join(HANG_SECONDS)
        assert got == [sandbox]
        pool.release(sandbox)


def test_who_waits_gets_a_new_one_if_the_old_one_is_thrown_away(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database, size=1) as pool:
        sandbox = pool.acquire()
        got: list[Sandbox] = []
        waiting = threading.Thread(target=lambda: got.append(pool.acquire()))
        waiting.start()
        sandbox.begin(seeds)  # never ended: the sandbox comes back dirty
        assert pool.release(sandbox) is False
        waiting.join(HANG_SECONDS)
        assert len(got) == 1
        assert got[0] is not sandbox
        assert got[0].is_clean()
        pool.release(got[0])
        assert pool.discarded == 1


def test_the_slots_of_two_pools_are_disjoint(own_database: str) -> None:
    with SandboxPool(own_database, size=3) as one, SandboxPool(own_database, size=3) as two:
        left = [one.acquire() for _ in range(3)]
        right = [two.acquire() for _ in range(3)]
        assert len({sandbox.slot for sandbox in (*left, *right)}) == 6
        for sandbox in left:
            one.release(sandbox)
        for sandbox in right:
            two.release(sandbox)


def test_slots_are_taken_again_after_a_pool_is_closed(own_database: str) -> None:
    for _ in range(3):
        with SandboxPool(own_database, size=2) as pool:
            leased = [pool.acquire() for _ in range(2)]
            assert sorted(sandbox.slot for sandbox in leased) == [1, 2]
            for sandbox in leased:
                pool.release(sandbox)
        assert eventually(lambda: connections(own_database) == 0)


def test_a_sandbox_thrown_away_takes_its_schema_with_it(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database, size=1) as pool:
        sandbox = pool.acquire()
        sandbox.begin(seeds)
        pool.release(sandbox)
        with psycopg.connect(own_database) as admin:
            row = admin.execute(
                "SELECT count(*) FROM pg_namespace WHERE nspname = %s", (sandbox.schema,)
            ).fetchone()
        assert row == (0,)


def test_a_failed_opening_does_not_use_up_the_pool() -> None:
    pool = SandboxPool(NOWHERE, size=1)
    for _ in range(3):
        with pytest.raises(InfrastructureError, match=r"^The sandbox database does not answer \(.*\); run"):
            pool.acquire()
    assert pool.discarded == 0


def test_a_lease_ends_with_its_block_whatever_happens(own_database: str) -> None:
    with SandboxPool(own_database, size=1) as pool:
        with pytest.raises(ZeroDivisionError), pool.lease():
            raise ZeroDivisionError
        with pool.lease() as sandbox:
            assert sandbox.is_clean()


def vacuums(conninfo: str) -> int:
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("SELECT pg_stat_force_next_flush()")
        row = admin.execute(
            "SELECT coalesce(sum(vacuum_count), 0) FROM pg_stat_user_tables WHERE relname = 'clients'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_aborted_rows_are_cleared_away_every_300_sessions(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database) as pool:
        for number in range(601):
            with pool.lease() as sandbox, sandbox.begin(seeds) as session:
                assert session.call("quote_prefixes", {}) == ["AB", "EU"], number
        assert sandbox.sessions == 601
        assert pool.discarded == 0
        assert sandbox.query("SELECT current_user::text", ()) == [("crm_assets_session",)]
        assert eventually(lambda: vacuums(own_database) == 2)


def test_a_lease_of_several_sessions_does_not_skip_the_clearing(own_database: str, seeds: SeedRows) -> None:
    with SandboxPool(own_database) as pool:
        for _ in range(2):
            with pool.lease() as sandbox:
                for _ in range(161):
                    with sandbox.begin({}):
                        pass
        with pool.lease():
            pass  # and one without any does not clear again
        assert eventually(lambda: vacuums(own_database) == 1)
