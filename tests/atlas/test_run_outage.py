"""Runs that go on when their databases go away for a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from crm_assets.database import DatabaseGone, connect_databases, start_embedded, stop_embedded
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project
from tests.atlas.loop import Loop, loop_project, models_at, offline_models, small_dataset
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer
from tests.projects import ProjectDatabases
from tests.servers import server_project

DOCUMENTS = small_dataset(4)


@pytest.fixture(scope="module")
def own() -> Iterator[Project]:
    """A project with a server that a test may stop."""
    with server_project() as project:
        yield project


@pytest.fixture(scope="module")
def own_databases(own: Project) -> ProjectDatabases:
    """Databases of that server."""
    return ProjectDatabases(connect_databases(own))


def once_at(request_number: int, happens: Callable[[], None]) -> Callable[[Recorded], Scripted]:
    """The offline models; something happens when so many requests have come."""
    seen = 0

    def script(request: Recorded) -> Scripted:
        nonlocal seen
        seen += 1
        if seen == request_number:
            happens()
        return offline_models(request)

    return script


def check_finished(loop: Loop, server: ScriptedServer, happens: Callable[[], None]) -> None:
    """A run is finished in spite of what happens, and no answered call is paid for twice."""
    files, config = loop.tasks(DOCUMENTS), loop.config(models_at(server.url))
    server.script = once_at(9, happens)
    summary = loop.run(files, config, concurrency=4, learning="off")
    assert summary.succeeded + summary.failed == 4
    check_paid_once(loop, files, server)
    rows = dict(loop.query("SELECT status, count(*) FROM sessions GROUP BY 1"))
    assert (rows.get("succeeded"), rows.get("running")) == (4, None)


def check_paid_once(loop: Loop, files: RunFiles, server: ScriptedServer) -> None:
    """No answered call was asked again."""
    entries = loop.ledger(files)
    keys = Counter((one.session, one.role, one.request_sha256, one.ordinal) for one in entries)
    assert set(keys.values()) == {1}
    assert len(server.requests) == len(entries)


def test_a_run_goes_on_when_its_backends_are_terminated(loop: Loop):
    sandbox = connect_databases(loop.project).sandbox
    terminated: list[int] = []

    def terminate() -> None:
        with psycopg.connect(sandbox, autocommit=True) as admin:
            names = [admin.info.dbname, loop.telemetry.rpartition("/")[2].partition("?")[0]]
            rows = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = ANY(%s) AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                (names,),
            ).fetchall()
        terminated.append(rows[0][0])

    with ScriptedServer(latency_seconds=0.02) as server:
        check_finished(loop, server, terminate)
    assert terminated[0] > 4, "no sandbox lost its backend"


def test_a_run_goes_on_when_its_server_was_away(own: Project, own_databases: ProjectDatabases):
    restarts: list[threading.Thread] = []

    def restart() -> None:
        stop_embedded(own)
        thread = threading.Thread(target=lambda: (time.sleep(2.0), start_embedded(own)))
        thread.start()
        restarts.append(thread)

    with loop_project(own_databases) as loop:
        try:
            with ScriptedServer(latency_seconds=0.02) as server:
                check_finished(loop, server, restart)
            assert restarts
        finally:
            for thread in restarts:
                thread.join()


def test_a_run_ends_in_a_sentence_when_its_server_stays_away(own: Project, own_databases: ProjectDatabases):
    with loop_project(own_databases, DB_OUTAGE_SECONDS="0.5") as loop:
        files = loop.tasks(DOCUMENTS)
        try:
            with ScriptedServer(latency_seconds=0.02) as server:
                config = loop.config(models_at(server.url))
                server.script = once_at(9, lambda: stop_embedded(own) and None)
                with pytest.raises(DatabaseGone, match=r"\w.*\.$"):
                    loop.run(files, config, concurrency=4, learning="off")
                assert len(loop.ledger(files)) == len(server.requests)
                start_embedded(own)
                summary = loop.run(files, config, concurrency=4, learning="off")
                assert summary.succeeded + summary.failed == 4
                answered = [one for one in loop.ledger(files) if one.error is None]
                keys = {(one.session, one.role, one.request_sha256, one.ordinal) for one in answered}
                assert len(keys) == len(answered)
        finally:
            start_embedded(own)
