"""The project's own server: started on demand, shared, and started again whatever happened to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_assets.database import (
    connect_databases,
    embedded,
    embedded_address,
    start_embedded,
    stop_embedded,
)
from crm_assets.errors import InfrastructureError
from crm_assets.workspace.project import Project
from tests.servers import discard_server, short_folder
from tests.waiting import HANG_SECONDS, eventually


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A project with a server that the tests here may mistreat."""
    project = Project(short_folder())
    yield project
    discard_server(project)
    shutil.rmtree(project.root, ignore_errors=True)


@pytest.fixture
def address(project: Project) -> str:
    """The address of its server, which runs."""
    return start_embedded(project)


def pid_file(project: Project) -> Path:
    return project.state / "pg" / "postmaster.pid"


def server_pid(project: Project) -> int:
    return int(pid_file(project).read_text().splitlines()[0])


def ask(address: str, question: str) -> object:
    with psycopg.connect(address, autocommit=True) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def kill(project: Project) -> None:
    """End the server as a crash of the machine would: its pid file stays."""
    pid = server_pid(project)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_it_starts_on_demand_and_is_shared(
    project: Project, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conninfo_to_dict(address)["dbname"] == "postgres"
    assert str(conninfo_to_dict(address)["host"]).startswith(str(project.root))
    started = ask(address, "SELECT pg_postmaster_start_time()")
    with monkeypatch.context() as patch:
        patch.delattr(embedded, "_start")  # the second time is only a connection
        assert start_embedded(project) == address
    assert embedded_address(project) == address
    assert ask(address, "SELECT pg_postmaster_start_time()") == started


def test_it_is_set_up_for_what_it_does(address: str) -> None:
    assert ask(address, "SHOW max_connections") == "300"
    assert ask(address, "SHOW jit") == "off"
    assert ask(address, "SHOW fsync") == "on"
    assert ask(address, "SHOW listen_addresses") == "", "nobody else can reach it"


def test_stopping(project: Project, address: str) -> None:
    assert stop_embedded(project) is True
    assert embedded_address(project) is None
    assert stop_embedded(project) is False
    again = start_embedded(project)
    assert ask(again, "SELECT 1") == 1


def test_data_outlives_a_stop(project: Project, address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS x")
    stop_embedded(project)
    assert ask(start_embedded(project), "SELECT x FROM kept") == 42


def test_a_dead_server_s_pid_file_does_not_keep_it_dead(project: Project, address: str) -> None:
    kill(project)
    assert pid_file(project).exists(), "else there is nothing to test"
    assert embedded_address(project) is not None
    assert ask(start_embedded(project), "SELECT 1") == 1


def test_a_pid_file_whose_number_another_process_has_now(project: Project, address: str) -> None:
    """After a restart of the machine any process can have the server's number."""
    lines = pid_file(project).read_text().splitlines()
    assert stop_embedded(project)
    lines[0] = str(os.getpid())
    pid_file(project).write_text("\n".join(lines) + "\n")
    assert stop_embedded(project) is False, "it is not running, and this process is not it"
    assert ask(start_embedded(project), "SELECT 1") == 1
    assert server_pid(project) != os.getpid()


def test_several_processes_at_once_start_one_server(project: Project, address: str) -> None:
    kill(project)
    script = (
        "from pathlib import Path\n"
        "from crm_assets.database import start_embedded\n"
        "from crm_assets.workspace.project import Project\n"
        f"print(start_embedded(Project(Path({str(project.root)!r}))))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=HANG_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert {out.strip() for out, _ in answers} == {embedded_address(project)}
    assert [err for _, err in answers] == ["", "", ""], "starting a server says nothing"
    assert pid_file(project).exists(), "a server whose pid file is taken away ends itself"
    assert ask(start_embedded(project), "SELECT 1") == 1


def test_a_server_that_lives_but_takes_no_connection_is_left_alone(
    project: Project, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PATIENCE_SECONDS", 0.2)
    side_door = make_conninfo(address, dbname="template1")
    pid = server_pid(project)
    with psycopg.connect(side_door, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        try:
            with pytest.raises(InfrastructureError) as caught:
                start_embedded(project)
        finally:
            connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
    text = str(caught.value)
    assert text.startswith("The embedded Postgres runs but accepts no connection (")
    assert "not currently accepting connections" in text
    assert "\n" not in text
    assert server_pid(project) == pid
    assert start_embedded(project) == address


def test_a_server_that_takes_connections_a_moment_later_is_waited_for(
    project: Project, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PATIENCE_SECONDS", HANG_SECONDS)
    with psycopg.connect(make_conninfo(address, dbname="template1"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        later = threading.Timer(
            0.3, lambda: connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
        )
        later.start()
        try:
            assert start_embedded(project) == address
        finally:
            later.join()


def test_the_lock_of_other_users_of_the_wheel_does_not_matter(
    project: Project, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel's lock is one file for the whole machine, which only its first user may open."""
    stop_embedded(project)
    monkeypatch.setattr(embedded._wheel().PostgresServer, "_lock", None)
    assert ask(start_embedded(project), "SELECT 1") == 1


def test_importing_the_wheel_says_nothing_and_other_warnings_are_heard() -> None:
    script = (
        "import warnings\n"
        "from crm_assets.database import embedded\n"
        "embedded._wheel()\n"
        "warnings.warn('heard')\n"
        "warnings.warn('XDG_RUNTIME_DIR is not set, says another', UserWarning)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.count(": UserWarning: ") == 2  # newer Pythons show the source, too
    assert "heard" in done.stderr
    assert "says another" in done.stderr


@pytest.mark.parametrize("locale", ["C", "xx_YY.UTF-8"])
def test_whatever_the_user_s_locale_is(locale: str) -> None:
    """One that the machine does not have keeps nobody from starting, and text is compared alike."""
    project = Project(short_folder())
    script = (
        "from pathlib import Path\n"
        "import os, psycopg\n"
        "from crm_assets.database import connect_databases\n"
        "from crm_assets.workspace.project import Project\n"
        "before = dict(os.environ)\n"
        f"databases = connect_databases(Project(Path({str(project.root)!r})))\n"
        "assert os.environ == before\n"
        "with psycopg.connect(databases.sandbox) as connection:\n"
        "    row = connection.execute(\"SELECT lower('ÉЖ') = 'éж', current_setting('server_encoding')\")\n"
        "    print(*row.fetchone())\n"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**plain, "LC_ALL": locale, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout.strip(), done.returncode) == ("True UTF8", 0), done.stderr
    finally:
        discard_server(project)
        shutil.rmtree(project.root, ignore_errors=True)


def test_a_project_with_a_very_long_path() -> None:
    """A socket's path has room for 107 characters."""
    top = short_folder()
    root = top / ("x" * 60) / ("y" * 60)
    root.mkdir(parents=True)
    project = Project(root)
    try:
        databases = connect_databases(project)
        assert ask(databases.sandbox, "SELECT current_database()") == "crm_sandbox"
        assert connect_databases(project) == databases
        host = Path(str(conninfo_to_dict(databases.sandbox)["host"]))
        assert len(str(host / ".s.PGSQL.5432")) <= 107
        assert stop_embedded(project) is True
    finally:
        discard_server(project)
        shutil.rmtree(top, ignore_errors=True)
        folder = embedded._data_folder(project)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)


def test_two_long_projects_have_two_servers(tmp_path: Path) -> None:
    folders = {embedded._data_folder(Project(tmp_path / ("x" * 100) / name)) for name in "ab"}
    assert len(folders) == 2


def test_a_first_start_that_was_killed_is_made_good_by_the_next() -> None:
    project = Project(short_folder())
    script = (
        "from pathlib import Path\n"
        "from crm_assets.database import start_embedded\n"
        "from crm_assets.workspace.project import Project\n"
        f"start_embedded(Project(Path({str(project.root)!r})))\n"
    )
    try:
        child = subprocess.Popen([sys.executable, "-c", script])
        while not list(project.state.glob("pg*/PG_VERSION")):
            assert child.poll() is None, "it was through before it could be killed"
            time.sleep(0.001)
        child.kill()
        child.wait()
        address = start_embedded(project)
        assert ask(address, "SHOW max_connections") == "300", "with our settings"
        assert [entry.name for entry in project.state.glob("pg.*")] == ["pg.lock"]
    finally:
        discard_server(project)
        shutil.rmtree(project.root, ignore_errors=True)


def test_only_a_cluster_that_never_ran_counts_as_half_made(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    (folder / "postgresql.conf").write_text("# as initdb writes it\n")
    assert not embedded._is_whole(folder)
    (folder / "postmaster.opts").touch()
    assert embedded._is_whole(folder), "a cluster that ran may hold data, whatever its settings"


def test_a_server_that_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    blocked = Project(tmp_path / "p")
    blocked.root.mkdir()
    blocked.state.write_text("a file where the folder should be")
    with pytest.raises(InfrastructureError) as caught:
        start_embedded(blocked)
    text = str(caught.value)
    assert text.startswith("The embedded Postgres could not be started (")
    assert text.endswith("set DB_HOST to use your own server.")
    assert "see " not in text, "there is no log yet"
    assert "\n" not in text
