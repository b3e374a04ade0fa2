"""Fixtures for the whole suite: a project of its own, its databases, and the corpus of real data."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from crm_assets.crm import Sandbox, SandboxPool
from crm_assets.database import Databases, connect_databases
from crm_assets.workspace.project import Project
from tests.projects import REPOSITORY, ProjectDatabases, Snapshots, draw_once, fresh_project
from tests.servers import drop_databases, server_project

# Deadlines and slow draws measure the machine, not the code: a busy one would fail tests at random.
settings.register_profile("crm_assets", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crm_assets")

_ROOM_BYTES = 4 << 30

# Each collection looks at what thousands of collected tests hold: that took a fifteenth of the time.
gc.set_threshold(20_000)

# A shell's background jobs ignore interrupts, and so would every process that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process works on one alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("whole") is None)


def _work_in_memory() -> None:
    """Put temporary files, databases among them, into memory where there is room for them."""
    memory = "/dev/shm"
    with suppress(OSError):
        if "TMPDIR" not in os.environ and shutil.disk_usage(memory).free > _ROOM_BYTES:
            os.environ["TMPDIR"] = memory
            tempfile.tempdir = None


_work_in_memory()

_FOREIGN = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME")
_URLS = ("STORAGE__DATABASE_URL", "DAGSTER_DATABASE_URL")
_PLACES = ("CRM_ASSETS_HOME", "DAGSTER_HOME", "CRM_ASSETS_ARTIFACTS", "CRM_ASSETS_DATA")
_MODELS = ("OPENAI_API_KEY", "GEMINI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "ATLAS_OFFLINE_MODE")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep the caller's databases, keys and project out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*_FOREIGN, *_URLS, *_MODELS, *_PLACES):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def embedded_project() -> Iterator[Project]:
    """A project with an embedded server of its own, for the whole session of this test process."""
    with server_project() as project:
        yield project


@pytest.fixture(scope="session")
def databases(embedded_project: Project) -> Databases:
    """The databases of `embedded_project`."""
    return connect_databases(embedded_project)


@pytest.fixture(scope="session")
def project_databases(databases: Databases) -> ProjectDatabases:
    """Databases to lend to projects."""
    return ProjectDatabases(databases)


@pytest.fixture
def project(
    project_databases: ProjectDatabases, drawn_once: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A fresh project folder, current by `CRM_ASSETS_HOME`, on databases that it has for itself.

    It shares the embedded server of the session, by DB_HOST, since starting one takes a second.
    """
    monkeypatch.setattr("crm_assets.reporting.plots.drawing._drawn", drawn_once)
    with fresh_project(project_databases, monkeypatch) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def drawn_once() -> object:
    """Draws each picture once."""
    return draw_once()


@pytest.fixture(scope="session")
def snapshots() -> Iterator[Snapshots]:
    """States of projects to start from, made once."""
    made = Snapshots()
    yield made
    made.close()


@pytest.fixture(scope="session")
def sandbox_conninfo(databases: Databases) -> str:
    """A sandbox database; tests/test_over_tcp.py has one over TCP."""
    return databases.sandbox


@pytest.fixture(scope="session")
def shared_pool(sandbox_conninfo: str) -> Iterator[SandboxPool]:
    """Sandboxes for tests that leave them clean."""
    with SandboxPool(sandbox_conninfo, size=4) as pool:
        yield pool
        assert pool.discarded == 0, "a test left a sandbox dirty"


@pytest.fixture
def sandbox(shared_pool: SandboxPool) -> Iterator[Sandbox]:
    """A leased sandbox; the test fails if it does not come back clean."""
    leased = shared_pool.acquire()
    clean = False
    try:
        yield leased
    finally:
        clean = shared_pool.release(leased)
    assert clean, "the base of the sandbox changed"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder of the real conversations and recorded runs."""
    folder = Path(os.environ.get("CRM_CORPUS", REPOSITORY.parent / "shared" / "datasets"))
    if not (folder / "clbench_eval.jsonl").is_file():
        pytest.skip(f"the corpus of real conversations is not there ({folder}); set CRM_CORPUS")
    return folder


@pytest.fixture
def lonely_project(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project whose sandbox database (`DB_NAME`) is its alone, and may be taken away."""
    parts = psycopg.conninfo.conninfo_to_dict(databases.sandbox)
    for variable, part in (("DB_HOST", "host"), ("DB_PORT", "port"), ("DB_USER", "user")):
        monkeypatch.setenv(variable, str(parts[part]))
    name = f"crm_lonely_{uuid4().hex[:8]}"
    monkeypatch.setenv("DB_NAME", name)
    yield Project(tmp_path)
    drop_databases(databases.sandbox, name)
