"""`crm-assets ui`: Dagster's webserver and daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress

import click

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.transcripts import VIEW_PORT

__all__ = ["DEFAULT_PORT", "HOST", "port_is_free", "ui"]

HOST = "127.0.0.1"
DEFAULT_PORT = 3000
_PATIENCE = 20.0  # seconds for Dagster to end its own processes before we do


def port_is_free(port: int) -> bool:
    """Return True if a server can listen on `port` of this machine."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As the webserver does: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port on 127.0.0.1.",
)
@click.option(
    "--transcripts/--no-transcripts",
    default=True,
    help=f"Serve transcripts beside it, on port {VIEW_PORT}, as `crm-assets view` does.",
)
def ui(port: int, *, transcripts: bool) -> None:
    """Run Dagster's webserver and daemon on 127.0.0.1.

    Beside them it serves the transcripts that Dagster's pages link to. Ctrl-C ends them.
    """
    project = find_project()
    if not (project.root / "workspace.yaml").is_file():
        raise InputError(f"{project.root} has no workspace.yaml: work in the project's folder.")
    if not port_is_free(port):
        raise InputError(f"Port {port} is in use: stop what listens there or choose --port.")

    from crm_assets.database import connect_databases
    from crm_assets.orchestration.materialize import open_instance

    # One clear sentence now, rather than two tracebacks in a moment.
    connect_databases(project)
    with open_instance(project):
        pass
    click.echo(f"Dagster's UI will be on http://{HOST}:{port} in a few seconds; Ctrl-C ends it.")
    with _transcripts(project) if transcripts else nullcontext():
        code = _supervise(project, port)
    if code:
        raise InfrastructureError(f"Dagster ended by itself with code {code}; its log is above.")


@contextmanager
def _transcripts(project: Project) -> Iterator[None]:
    """Serve transcripts while the block runs, if Inspect is installed and the port is free."""
    from crm_assets.exports.inspect_package import inspect_is_installed

    missing = None
    if not inspect_is_installed():
        missing = "Transcripts are served, too, after `pip install 'crm-assets[inspect]'`."
    elif not port_is_free(VIEW_PORT):
        missing = f"Port {VIEW_PORT} is in use: links to transcripts lead to what listens there."
    if missing:
        click.echo(missing, err=True)
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "crm_assets", "view", "--no-browser"],
        cwd=project.root,
        env={**os.environ, "CRM_ASSETS_HOME": str(project.root)},
        start_new_session=True,
    )
    try:
        yield
    finally:
        _end(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _supervise(project: Project, port: int) -> int:
    """Run Dagster in a session of its own and leave no process of it behind."""
    # Started in the background, we may have been told to ignore Ctrl-C; Dagster would inherit that
    # and could not be asked to stop.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
        [
            *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
            *("--host", HOST, "--port", str(port)),
            *("--workspace", str(project.root / "workspace.yaml")),
            *("--log-level", "warning", "--code-server-log-level", "warning"),
        ],
        cwd=project.root,
        env={
            **os.environ,
            "CRM_ASSETS_HOME": str(project.root),
            "DAGSTER_HOME": str(project.dagster_home),
        },
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        click.echo("Stopping Dagster …", err=True)
        _end(process)
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever did not go by itself


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_PATIENCE)
