"""Projects of the tests: as of a fresh clone, on databases of their own, and states to start from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from crm_assets.atlas.telemetry import migrate
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases, connect_databases
from crm_assets.database.shared_tables import make_shared_tables
from crm_assets.harness import GroundTruthStore
from crm_assets.workspace.project import Project
from tests.databases import DatabasePool, DatabaseState, bring, take
from tests.servers import short_folder

if TYPE_CHECKING:
    from crm_assets.reporting.plots import drawing

__all__ = [
    "ADDRESSES",
    "REPOSITORY",
    "SANDBOXES",
    "ProjectDatabases",
    "Snapshots",
    "draw_once",
    "fresh_project",
    "lay_out_project",
]

REPOSITORY = Path(__file__).resolve().parent.parent


def lay_out_project(project: Project) -> None:
    """Put into an empty folder what a clone has, but for datasets."""
    project.conversations.mkdir(parents=True)
    project.dagster_home.mkdir()
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", project.dagster_home)
    shutil.copy(REPOSITORY / "workspace.yaml", project.root)
    shutil.copytree(REPOSITORY / "configs", project.root / "configs")


ADDRESSES = {"atlas": "STORAGE__DATABASE_URL", "dagster": "DAGSTER_DATABASE_URL"}

SANDBOXES = 8
"""Number of sandboxes that a lent database has."""


class ProjectDatabases:
    """Lends the databases of projects as before a first run: all tables are there, without rows."""

    def __init__(self, server: Databases) -> None:
        self._server = server.sandbox
        self._pools = {
            "sandbox": DatabasePool(self._server, "sandbox", self._make_sandbox),
            "atlas": DatabasePool(self._server, "atlas", self._make_atlas),
            "dagster": DatabasePool(self._server, "dagster", self._make_dagster),
        }

    @contextmanager
    def lend(self, *kinds: str) -> Iterator[dict[str, str]]:
        """Yield the variables that name a database of each of `kinds`, by default of all."""
        with ExitStack() as stack:
            variables: dict[str, str] = {}
            for kind in kinds or self._pools:
                variables |= self._variables(kind, stack.enter_context(self._pools[kind].lend()))
            yield variables

    def _variables(self, kind: str, conninfo: str) -> dict[str, str]:
        parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
        if kind == "sandbox":
            return {f"DB_{name.upper()}": parts[name] for name in ("host", "port", "user")} | {
                "DB_NAME": parts["dbname"]
            }
        return {ADDRESSES[kind]: self._url(kind, parts["dbname"])}

    def _url(self, kind: str, name: str) -> str:
        driver = "postgresql+psycopg2" if kind == "dagster" else "postgresql"
        return "{}://{user}@/{}?host={host}&port={port}".format(
            driver, name, **conninfo_to_dict(self._server)
        )

    def _make_sandbox(self, name: str) -> None:
        made = connect_databases(Project(Path()), sandbox_url=self._url("sandbox", name)).sandbox
        with SandboxPool(made, size=SANDBOXES) as pool:
            leased = [pool.acquire() for _ in range(SANDBOXES)]
            for sandbox in leased:
                pool.release(sandbox)
            GroundTruthStore(made, pool).close()

    def _make_atlas(self, name: str) -> None:
        self._create(name)
        with psycopg.connect(self._server, dbname=name, autocommit=True) as connection:
            migrate(connection)

    def _make_dagster(self, name: str) -> None:
        from crm_assets.orchestration.storage import ProjectPostgresStorage

        self._create(name)
        storage = ProjectPostgresStorage(self._url("dagster", name))
        # Each of its parts makes its tables when it is asked.
        storage.run_storage.get_run_storage_id()
        storage.event_log_storage.all_asset_keys()
        storage.schedule_storage.all_instigator_state()
        with psycopg.connect(self._server, dbname=name, autocommit=True) as connection:
            make_shared_tables(connection)

    def _create(self, name: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


_NO_COMPUTE_LOGS = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
"""Two processes for each output of a run; in tests there is no terminal that they could show it in."""


@contextmanager
def fresh_project(databases: ProjectDatabases, patch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Yield a project, current by `CRM_ASSETS_HOME`, on databases that nobody else has meanwhile."""
    project = Project(short_folder())
    lay_out_project(project)
    with (project.dagster_home / "dagster.yaml").open("a") as file:
        file.write(_NO_COMPUTE_LOGS)
    patch.setenv("CRM_ASSETS_HOME", str(project.root))
    patch.setenv("DAGSTER_HOME", str(project.dagster_home))
    try:
        with databases.lend() as variables:
            for name, value in variables.items():
                patch.setenv(name, value)
            yield project
    finally:
        shutil.rmtree(project.root, ignore_errors=True)


def draw_once() -> Callable[[Iterable[drawing.Plot]], tuple[drawing.Drawing, ...]]:
    """Return a stand-in for `drawing._drawn` that draws each picture once and then gives the same again.

    Drawing takes longer than all else that small baselines need; tests/reporting/test_plots.py looks at
    what the pictures show.
    """
    from crm_assets.reporting.plots import drawing

    real = drawing._drawn
    drawn: dict[str, drawing.Drawing] = {}

    def draw(plots: Iterable[drawing.Plot]) -> tuple[drawing.Drawing, ...]:
        wanted = list(plots)
        for made in real([plot for plot in wanted if plot.name not in drawn]):
            drawn[made.name] = made
        return tuple(drawn[plot.name] for plot in wanted)

    return draw


@dataclass
class Snapshots:
    """States of projects, made once a session: their files, and their databases' contents."""

    _taken: dict[str, tuple[Path, dict[str, DatabaseState]]] = field(default_factory=dict)

    def bring(self, project: Project, name: str, make: Callable[[], object]) -> None:
        """Bring a fresh project into the state `name`, which `make` makes where it is not known yet."""
        if name not in self._taken:
            make()
            self._taken[name] = self._take(project)
            return
        folder, states = self._taken[name]
        shutil.copytree(folder, project.root, dirs_exist_ok=True)
        for kind, state in states.items():
            bring(_conninfo(kind), state)

    def _take(self, project: Project) -> tuple[Path, dict[str, DatabaseState]]:
        folder = short_folder("snap")
        for part in (project.conversations, project.baselines.parent):
            shutil.copytree(part, folder / part.relative_to(project.root), dirs_exist_ok=True)
        return folder, {kind: take(_conninfo(kind)) for kind in ADDRESSES}

    def close(self) -> None:
        """Remove the files."""
        for folder, _ in self._taken.values():
            shutil.rmtree(folder, ignore_errors=True)


def _conninfo(kind: str) -> str:
    """Return the address of a database of the current project."""
    return os.environ[ADDRESSES[kind]].replace("+psycopg2", "")
