"""A project of its own, and its real UI: Dagster's webserver and daemon, as `crm-assets ui` runs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import psutil

from crm_assets.workspace.project import Project
from tests.projects import lay_out_project
from tests.servers import server_project
from tests.waiting import HANG_SECONDS, eventually

_FOREIGN = ("DB_", "STORAGE__", "DAGSTER_", "CRM_ASSETS_", "ATLAS_", "OPENAI_", "GEMINI_", "ALERT_")


@contextmanager
def own_project() -> Iterator[Project]:
    """A project as of a fresh clone, without datasets, on an embedded server of its own."""
    with server_project() as project:
        lay_out_project(project)
        yield project


def environment(project: Project) -> dict[str, str]:
    """What a command of `project` runs in: nobody's databases, and nobody's keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        "CRM_ASSETS_HOME": str(project.root),
        "DAGSTER_HOME": str(project.dagster_home),
    }


def crm_assets(project: Project, *arguments: str) -> str:
    """What `crm-assets` prints in `project`."""
    done = subprocess.run(
        [sys.executable, "-m", "crm_assets", *arguments],
        cwd=project.root,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


@contextmanager
def served(project: Project, *, daemon: bool = True) -> Iterator[str]:
    """The address of the UI of `project`, which ends with the block, and leaves no process behind.

    Without `daemon` it is the webserver alone, for sensors and queues not to be busy beside it.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    log = project.root / "ui.log"
    with_daemon = ["crm_assets", "ui", "--port", str(port), "--no-transcripts"]
    alone = ["dagster_webserver", "--workspace", "workspace.yaml", "--port", str(port)]
    with log.open("wb") as handle:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *(with_daemon if daemon else alone)],
            cwd=project.root,
            env=environment(project),
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(address, process, log)
        yield address
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(HANG_SECONDS)
        finally:
            _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
            for left in alive:
                left.kill()
    assert not alive, f"the UI left processes behind: {alive}"


@contextmanager
def transcripts_served(project: Project) -> Iterator[None]:
    """Transcripts of `project` on the usual port, as `crm-assets ui` serves them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crm_assets", "view", "--no-browser"],
        env=environment(project),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Transcripts: ")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANG_SECONDS)


def graphql(address: str, query: str, **variables: object) -> dict[str, object]:
    """What the webserver answers to `query`."""
    request = urllib.request.Request(
        f"{address}/graphql",
        data=orjson.dumps({"query": query, "variables": variables}),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:
        document = orjson.loads(answer.read())
    assert "errors" not in document, document["errors"]
    return dict(document["data"])


def offered_datasets(address: str) -> list[str]:
    """The keys of the dimension `dataset` that can be chosen in the UI."""
    query = (
        '{ assetNodeOrError(assetKey: {path: ["dataset_revision"]}) '
        "{ ... on AssetNode { partitionKeysByDimension { name partitionKeys } } } }"
    )
    node: Any = graphql(address, query)["assetNodeOrError"]
    keys = {each["name"]: each["partitionKeys"] for each in node["partitionKeysByDimension"]}
    return list(keys["dataset"])


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the webserver answers and the code location is loaded."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"

    def is_loaded() -> bool:
        with suppress(urllib.error.URLError, ConnectionError):
            return bool(graphql(address, query)["repositoriesOrError"].get("nodes"))  # type: ignore[attr-defined]
        return False

    assert eventually(lambda: is_loaded() or process.poll() is not None, every_seconds=0.3)
    assert process.poll() is None, f"the UI did not come up: {log.read_text()}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
