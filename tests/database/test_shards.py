"""Claims of shards and sessions: what is delivered twice is done once, and the dead are replaced."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from crm_assets.database import Databases, LeaseLost, ShardTable, shards
from crm_assets.workspace.project import Project
from tests.waiting import eventually

SHARD = "shard_1_of_2"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(shards, "POLL_SECONDS", 0.02)


@pytest.fixture
def table(embedded_project: Project) -> Iterator[ShardTable]:
    with closing(ShardTable(embedded_project, folder_of(embedded_project))) as opened:
        yield opened
        opened.forget()


def folder_of(project: Project) -> Path:
    return project.baselines / "dev" / uuid4().hex


def quiet(_: str) -> None:
    """Tell nobody."""


def put(databases: Databases, table: ShardTable, **columns: Any) -> None:
    row = {
        "project": table.place["project"],
        "folder": table.place["folder"],
        "shard": SHARD,
        "owner": "other",
        "host": "elsewhere",
        "pid": 1,
        **columns,
    }
    silent = row.pop("silent", 0.0)
    names, values = ", ".join(row), ", ".join(["%s"] * len(row))
    statement = (
        f"INSERT INTO crm_assets_shards ({names}, heartbeat) "
        f"VALUES ({values}, now() - make_interval(secs => {silent}))"
    )
    with psycopg.connect(databases.leases, autocommit=True) as connection:
        connection.execute(statement.encode(), list(row.values()))


def test_who_comes_second_waits_and_then_has_nothing_to_do(table: ShardTable):
    said: list[str] = []
    found: list[object] = []

    def second() -> None:
        with table.claim(SHARD, on_wait=said.append) as claim:
            found.append(claim)

    with table.claim(SHARD, on_wait=quiet) as first:
        assert first is not None
        first.status = {"done": 7}
        waiting = threading.Thread(target=second)
        waiting.start()
        eventually(lambda: said)
        assert not found
        first.finished = True
    waiting.join()
    assert found == [None]
    assert said == [
        f"process {os.getpid()} on {socket.gethostname()} works on it already: waiting until it has ended"
    ]
    (row,) = table.rows()
    assert (row.owner, row.finished, row.status) == (None, True, {"done": 7})


def test_what_was_given_up_is_gone_on_with(table: ShardTable):
    with pytest.raises(ZeroDivisionError), table.claim(SHARD, on_wait=quiet) as claim:
        assert claim is not None
        claim.status = {"passes": 1}
        raise ZeroDivisionError
    with table.claim(SHARD, on_wait=quiet) as claim:
        assert claim is not None
        assert claim.status == {"passes": 1}


@pytest.mark.parametrize("how", ["silent", "gone"])
def test_the_dead_are_replaced(table: ShardTable, databases: Databases, how: str):
    table.rows()  # makes the tables
    if how == "silent":
        put(databases, table, silent=61)
    else:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        put(databases, table, host=socket.gethostname(), pid=gone.pid)
    with table.claim(SHARD, on_wait=quiet) as claim:
        assert claim is not None


def test_sessions_of_the_living_are_waited_for(table: ShardTable, databases: Databases):
    said: list[str] = []
    with table.claim("shard_1_of_3", on_wait=quiet) as other:
        assert other is not None
        other.claim_sessions(["a", "b"], on_wait=quiet)
        with table.claim(SHARD, on_wait=quiet) as claim:
            assert claim is not None
            claiming = threading.Thread(
                target=claim.claim_sessions, args=(["b", "c"],), kwargs={"on_wait": said.append}
            )
            claiming.start()
            eventually(lambda: said)
            assert said == ["waiting for 1 of its sessions, which run elsewhere"]
            other.end()
            claiming.join()
    with psycopg.connect(databases.leases) as connection:
        claims = connection.execute(
            "SELECT count(*) FROM crm_assets_claims WHERE folder = %s", (table.place["folder"],)
        )
        assert claims.fetchone() == (0,)


def test_who_plans_anew_stops_those_who_are_at_work_first(table: ShardTable, embedded_project: Project):
    stopped = threading.Event()

    def work() -> None:
        claimed = table.claim(SHARD, on_wait=quiet)
        with pytest.raises(LeaseLost, match="was given to somebody else"), claimed as claim:
            assert claim is not None
            working.set()
            assert eventually(claim.stop._asked.is_set)
            claim.stop.raise_if_asked()
        stopped.set()

    working = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    working.wait()
    said: list[str] = []
    with closing(ShardTable(embedded_project, embedded_project.root / table.place["folder"])) as planner:
        with planner.claim("plan", on_wait=quiet) as plan:
            assert plan is not None
            planner.begin(plan, on_wait=said.append)
        assert stopped.wait(10)
        thread.join()
        assert [row.shard for row in planner.rows()] == ["plan"]
    assert "waiting until process" in said[0]


def test_a_status_reaches_the_siblings(table: ShardTable):
    table.note({"left": 9})
    with table.claim(SHARD, on_wait=quiet) as one, table.claim("shard_2_of_2", on_wait=quiet) as two:
        assert one is not None
        assert two is not None
        one.status = {"done": 3}
        assert eventually(lambda: [row.status for row in two.siblings] == [{"left": 9}, {"done": 3}, {}])
