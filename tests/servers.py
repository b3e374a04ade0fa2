"""The Postgres servers of the tests: their data is thrown away, so nothing is done to keep it safe."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_assets.database import connect_databases, embedded, embedded_address, stop_embedded
from crm_assets.workspace.project import Project
from tests.waiting import eventually

__all__ = ["discard_server", "drop_databases", "server_project", "short_folder", "tcp_server"]

_UNSAFE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "128MB",  # it may lie in memory
    "min_wal_size": "32MB",
}


def short_folder(prefix: str = "crm") -> Path:
    """Return a new folder with a path short enough for a unix socket, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)  # the server may run as another user
    return folder


@contextmanager
def server_project() -> Iterator[Project]:
    """Yield an empty project whose embedded server runs; both are gone afterwards."""
    project = Project(short_folder())
    try:
        _configure(connect_databases(project).sandbox, _UNSAFE)
        yield project
    finally:
        discard_server(project)
        shutil.rmtree(project.root, ignore_errors=True)


def discard_server(project: Project) -> None:
    """End the embedded server of `project` as a crash would, if it runs: without saving anything."""
    address = embedded_address(project)
    if address is None:
        return
    pid_file = Path(str(conninfo_to_dict(address)["host"])) / "postmaster.pid"
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    assert eventually(lambda: not pid_file.exists()), f"{address} does not end"


@contextmanager
def tcp_server() -> Iterator[str]:
    """Yield the conninfo of a superuser of a server on 127.0.0.1 that wants a password."""
    with server_project() as project:
        address = connect_databases(project).sandbox
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with psycopg.connect(address, autocommit=True) as admin:
            admin.execute("CREATE ROLE over_tcp SUPERUSER LOGIN PASSWORD 'over @/: tcp'")
        data = Path(str(conninfo_to_dict(address)["host"]))
        (data / "pg_hba.conf").write_text(
            "local all postgres trust\nhost all over_tcp 127.0.0.1/32 scram-sha-256\n"
        )
        stop_embedded(project)
        # By hand, since embedded servers listen on their socket alone.
        wheel, listen = embedded._wheel(), f"-h 127.0.0.1 -p {port} -k {data}"
        server = wheel.get_server(data, cleanup_mode=None, start=False)
        wheel.pgexec(
            "pg_ctl",
            ("-w", "-D", str(data), "-l", str(data / "log"), "-o", listen, "start"),
            bin_path=server.bin_path,
            user=server.system_user,
        )
        yield make_conninfo(
            host="127.0.0.1", port=port, user="over_tcp", password="over @/: tcp", dbname="postgres"
        )


def drop_databases(server: str, *names: str) -> None:
    """Drop databases of `server`, whoever is connected to them, where they exist."""
    with psycopg.connect(server, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _configure(server: str, settings: dict[str, str]) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        for name, value in settings.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}")
            admin.execute(statement.format(sql.Identifier(name), sql.Literal(value)))
        admin.execute("SELECT pg_reload_conf()")
