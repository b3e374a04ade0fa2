"""Sessions whose process is gone are closed at the next start, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.atlas.telemetry.writer import LOCK_SPACE
from tests.waiting import HANG_SECONDS, eventually

from .build import end, start

Query = Callable[..., list[Any]]

LIVES = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.atlas.telemetry.build import start
from crm_assets.atlas.telemetry import TelemetryStore
store = TelemetryStore(sys.argv[1])
store.__enter__()
print(store.begin(start(1)), store.begin(start(2)), flush=True)
sys.stdin.read()
"""


def statuses(query: Query) -> list[str]:
    return [status for (status,) in query("SELECT status FROM sessions ORDER BY id")]


def test_a_killed_process_s_sessions_are_closed_a_living_one_s_are_not(
    telemetry_database: str, store: TelemetryStore, query: Query, tests_folder: str
) -> None:
    arguments = [sys.executable, "-c", LIVES, telemetry_database, tests_folder]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["1", "2"]
        mine = store.begin(start(3))
        assert store.close_orphans() == 0
        assert statuses(query) == ["running"] * 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait(HANG_SECONDS)
    closed: list[int] = []
    assert eventually(lambda: closed.append(store.close_orphans()) or sum(closed) == 2)
    assert statuses(query) == ["failed", "failed", "running"]
    [(failure, completed)] = query(
        "SELECT metadata -> 'failure', completed_at IS NOT NULL FROM sessions WHERE id = 1"
    )
    assert failure == {"kind": "orphaned", "reason": "The process that ran it ended before it did."}
    assert completed is True
    store.persist(mine, end())


def test_a_store_that_is_closed_leaves_its_running_sessions_to_the_next(
    telemetry_database: str, query: Query
) -> None:
    with TelemetryStore(telemetry_database) as first:
        first.persist(first.begin(start(1)), end())
        first.begin(start(2))
    with TelemetryStore(telemetry_database) as second:
        closed: list[int] = []
        assert eventually(lambda: closed.append(second.close_orphans()) or sum(closed) == 1)
    assert statuses(query) == ["succeeded", "failed"]


def test_sessions_that_no_writer_of_ours_began_are_left_alone(store: TelemetryStore, query: Query) -> None:
    query("INSERT INTO sessions (task) VALUES ('of the SDK')")
    query("INSERT INTO sessions (task, metadata) VALUES ('of the SDK', '{\"tags\": []}')")
    assert store.close_orphans() == 0
    assert statuses(query) == ["running", "running"]


def test_a_session_that_was_taken_for_lost_may_still_end(
    telemetry_database: str, store: TelemetryStore, query: Query
) -> None:
    session = store.begin(start())
    query("UPDATE sessions SET metadata = jsonb_set(metadata, '{writer,lock}', '1')")
    with TelemetryStore(telemetry_database) as other:
        assert other.close_orphans() == 1
    store.persist(session, end())
    assert statuses(query) == ["succeeded"]
    assert query("SELECT metadata ? 'failure' FROM sessions") == [(False,)]


def test_locks_of_others_with_the_same_number_do_not_count(
    telemetry_database: str, store: TelemetryStore, query: Query
) -> None:
    store.begin(start())
    query("UPDATE sessions SET metadata = jsonb_set(metadata, '{writer,lock}', '77')")
    query("SELECT pg_advisory_lock(1234, 77), pg_advisory_lock(77)")
    query("SELECT pg_advisory_lock(%s)", LOCK_SPACE << 32 | 77)
    assert store.close_orphans() == 1
