"""Leases: one holder a folder, whoever asks, and a silent or dead one is replaced."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from crm_assets.database import Databases, InUse, LeaseLost, a_command, hold, lease
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project
from tests.waiting import eventually

HERE = socket.gethostname()
OTHER = "another command"


@pytest.fixture
def folder(embedded_project: Project) -> Path:
    return embedded_project.baselines / "dev" / uuid4().hex


class Rows:
    """The table of leases, as somebody else sees and changes it."""

    def __init__(self, project: Project, databases: Databases) -> None:
        self._project = project
        self._databases = databases

    def execute(self, statement: str, folder: Path, *parameters: object) -> list[tuple[object, ...]]:
        place = (project_id(self._project), self._project.relative(folder))
        with closing(psycopg.connect(self._databases.leases, autocommit=True)) as connection:
            cursor = connection.execute(statement.encode(), (*parameters, *place))
            return cursor.fetchall() if cursor.description else []

    def put(self, folder: Path, holder: str, host: str, pid: int | None, silent: float) -> None:
        self.execute(
            "INSERT INTO crm_assets_leases (holder, host, pid, heartbeat, project, folder) "
            "VALUES (%s, %s, %s, now() - make_interval(secs => %s), %s, %s)",
            folder,
            *(holder, host, pid, silent),
        )

    def of(self, folder: Path) -> list[tuple[object, ...]]:
        statement = "SELECT holder, host, pid FROM crm_assets_leases WHERE project = %s AND folder = %s"
        return self.execute(statement, folder)

    def give_to(self, folder: Path, holder: str) -> None:
        statement = "UPDATE crm_assets_leases SET holder = %s WHERE project = %s AND folder = %s"
        self.execute(statement, folder, holder)


@pytest.fixture
def rows(embedded_project: Project, databases: Databases) -> Rows:
    with hold(embedded_project, embedded_project.root / "table", a_command()):
        pass  # makes the table
    return Rows(embedded_project, databases)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.02)


def test_a_lease_is_held_within_its_block_and_by_nobody_after_it(
    embedded_project: Project, folder: Path, rows: Rows
) -> None:
    with hold(embedded_project, folder, "me"):
        assert rows.of(folder) == [("me", HERE, os.getpid())]
        with hold(embedded_project, folder, "the same, further in"):
            pass
        assert rows.of(folder) == [("me", HERE, os.getpid())]
    assert rows.of(folder) == []
    assert not folder.exists(), "it must not touch what it protects"


def test_a_lease_given_back_while_it_is_looked_at_is_taken(
    embedded_project: Project, folder: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = lease._Lease._look

    def too_late(self: lease._Lease) -> lease._Held | None:
        rows.execute("DELETE FROM crm_assets_leases WHERE project = %s AND folder = %s", folder)
        return look(self)

    rows.put(folder, OTHER, "elsewhere", 1, 3.0)
    monkeypatch.setattr(lease._Lease, "_look", too_late)
    with hold(embedded_project, folder, "me"):
        assert rows.of(folder) == [("me", HERE, os.getpid())]


ALIVE, DEAD = "alive", "dead"
STATES = {
    "the same holder": (("me", "elsewhere", 1, 3.0), True),
    "alive here": ((OTHER, HERE, ALIVE, 3.0), False),
    "alive elsewhere": ((OTHER, "elsewhere", 1, 3.0), False),
    "silent for a while": ((OTHER, "elsewhere", 1, 45.0), False),
    "between two stages": ((OTHER, HERE, None, 45.0), False),
    "dead here": ((OTHER, HERE, DEAD, 0.0), True),
    "dead elsewhere": ((OTHER, "elsewhere", DEAD, 0.0), False),
    "silent for too long": ((OTHER, "elsewhere", 1, 61.0), True),
    "silent for too long, here": ((OTHER, HERE, ALIVE, 61.0), True),
    "gone between two stages": ((OTHER, HERE, None, 61.0), True),
}


@pytest.mark.parametrize("state", STATES)
def test_who_may_take_a_lease_depends_on_its_holder_alone(
    embedded_project: Project, folder: Path, rows: Rows, dead_pid: int, state: str
) -> None:
    (holder, host, pid, silent), taken = STATES[state]
    number = {ALIVE: os.getppid(), DEAD: dead_pid}.get(str(pid), pid)
    rows.put(folder, holder, host, number, silent)  # type: ignore[arg-type]
    before = rows.of(folder)
    if taken:
        with hold(embedded_project, folder, "me"):
            assert rows.of(folder) == [("me", HERE, os.getpid())]
        return
    with pytest.raises(InUse) as caught, hold(embedded_project, folder, "me"):
        raise AssertionError
    assert rows.of(folder) == before
    said = str(caught.value)
    assert f"is in use by {OTHER}" in said
    assert host in said
    assert pid is None or f"process {number}" in said
    assert ("works in 15 s" in said) == (silent > 40)


def test_two_that_come_together_do_not_both_get_it(embedded_project: Project, folder: Path) -> None:
    barrier, inside, refused = threading.Barrier(4), [], []

    def come() -> None:
        barrier.wait()
        try:
            with hold(embedded_project, folder, a_command()):
                inside.append(1)
                assert eventually(lambda: len(refused) == 3)
        except InUse:
            refused.append(1)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 3)


HOLD = """
import sys, time
from pathlib import Path
from crm_assets.database import hold
from crm_assets.workspace.project import Project
with hold(Project(Path(sys.argv[1])), Path(sys.argv[2]), "a command that is killed"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_process_that_is_killed_is_replaced_at_once(embedded_project: Project, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(embedded_project.root), str(folder)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(InUse, match=rf"a command that is killed \(process {other.pid} on {HERE}"),
            hold(embedded_project, folder, a_command()),
        ):
            raise AssertionError
        other.send_signal(signal.SIGKILL)
        other.wait()
        with hold(embedded_project, folder, a_command()):
            pass


@pytest.mark.usefixtures("quick")
def test_the_heartbeat_goes_on_while_the_work_does_and_survives_its_connection(
    embedded_project: Project, folder: Path, rows: Rows
) -> None:
    stopped = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    heartbeat = "SELECT heartbeat FROM crm_assets_leases WHERE project = %s AND folder = %s"
    with hold(embedded_project, folder, "me"):
        for _ in range(2):
            before = rows.execute(heartbeat, folder)
            assert eventually(lambda before=before: rows.execute(heartbeat, folder) != before)
            rows.execute(f"{stopped} AND %s <> '' AND %s <> ''", folder, "crm_assets lease")
    assert rows.of(folder) == []


@pytest.mark.usefixtures("quick")
def test_who_was_replaced_is_stopped_and_says_who_has_it_now(
    embedded_project: Project, folder: Path, rows: Rows
) -> None:
    stopped = threading.Event()
    with pytest.raises(LeaseLost, match=f"was taken. .* is in use by {OTHER}"):  # noqa: SIM117
        with hold(embedded_project, folder, "me"):
            rows.give_to(folder, OTHER)
            stopped.wait(60)
            raise AssertionError("the work went on")
    assert rows.of(folder)[0][0] == OTHER, "another's lease was given back"


def test_a_lease_is_kept_for_the_next_stage_but_not_after_a_failure(
    embedded_project: Project, folder: Path, rows: Rows
) -> None:
    with hold(embedded_project, folder, "a run", keep=True):
        pass
    assert rows.of(folder) == [("a run", HERE, None)]
    with pytest.raises(InUse, match=rf"a run \(on {HERE}, since"), hold(embedded_project, folder, "me"):
        raise AssertionError
    with pytest.raises(ZeroDivisionError), hold(embedded_project, folder, "a run", keep=True):
        raise ZeroDivisionError
    assert rows.of(folder) == []


@pytest.fixture
def other_project(embedded_project: Project, tmp_path: Path) -> Iterator[Project]:
    """A second project on the same server."""
    (tmp_path / ".crm_assets").symlink_to(embedded_project.state)
    yield Project(tmp_path)


def test_projects_that_share_a_database_do_not_share_leases(
    embedded_project: Project, other_project: Project
) -> None:
    folder = Path("artifacts/baselines/dev/one")
    with (
        hold(embedded_project, embedded_project.root / folder, a_command()),
        hold(other_project, other_project.root / folder, a_command()),
    ):
        assert project_id(embedded_project) != project_id(other_project)
