"""Projects of the tests: as of a fresh clone, on databases of their own, and states to start from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from crm_assets.database import Databases
from crm_assets.workspace.project import Project
from tests.servers import drop_databases, short_folder

if TYPE_CHECKING:
    from crm_assets.reporting.plots import drawing

__all__ = ["REPOSITORY", "Snapshots", "copy_database", "draw_once", "fresh_project", "lay_out_project"]

REPOSITORY = Path(__file__).resolve().parent.parent

_KINDS = ("sandbox", "atlas", "dagster")


def lay_out_project(project: Project) -> None:
    """Put into an empty folder what a clone has, but for datasets."""
    project.conversations.mkdir(parents=True)
    project.dagster_home.mkdir()
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", project.dagster_home)
    shutil.copy(REPOSITORY / "workspace.yaml", project.root)
    shutil.copytree(REPOSITORY / "configs", project.root / "configs")


@contextmanager
def fresh_project(
    server: Databases, patch: pytest.MonkeyPatch, *, dagster_template: str = "template1"
) -> Iterator[Project]:
    """Yield a project, current by `CRM_ASSETS_HOME`, on new databases of `server`."""
    project = Project(short_folder())
    lay_out_project(project)
    patch.setenv("CRM_ASSETS_HOME", str(project.root))
    patch.setenv("DAGSTER_HOME", str(project.dagster_home))
    parts = psycopg.conninfo.conninfo_to_dict(server.sandbox)
    user, host, port = (str(parts[name]) for name in ("user", "host", "port"))
    suffix = uuid4().hex[:8]
    names = {kind: f"{kind}_{suffix}" for kind in _KINDS}
    for name, template in ((names["atlas"], "template1"), (names["dagster"], dagster_template)):
        copy_database(server.sandbox, template, name)
    patch.setenv("DB_HOST", host)
    patch.setenv("DB_PORT", port)
    patch.setenv("DB_USER", user)
    patch.setenv("DB_NAME", names["sandbox"])
    where = f"?host={host}&port={port}"
    patch.setenv("STORAGE__DATABASE_URL", f"postgresql://{user}@/{names['atlas']}{where}")
    patch.setenv("DAGSTER_DATABASE_URL", f"postgresql+psycopg2://{user}@/{names['dagster']}{where}")
    try:
        yield project
    finally:
        drop_databases(server.sandbox, *names.values())
        shutil.rmtree(project.root, ignore_errors=True)


def copy_database(server: str, template: str, name: str) -> None:
    """Make the database `name` from another one."""
    with psycopg.connect(server, autocommit=True) as admin:
        if template != "template1":  # what somebody is connected to cannot be copied
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (template,),
            )
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))


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


_ADDRESSES = {"atlas": "STORAGE__DATABASE_URL", "dagster": "DAGSTER_DATABASE_URL"}


def _database(kind: str) -> str:
    """Return the name of a database of the current project."""
    return urlsplit(os.environ[_ADDRESSES[kind]]).path.removeprefix("/")


@dataclass
class Snapshots:
    """States of projects, made once a session: their files, and their databases' contents."""

    server: Databases
    _taken: dict[str, tuple[Path, dict[str, str]]] = field(default_factory=dict)

    def bring(self, project: Project, name: str, make: Callable[[], object]) -> None:
        """Bring a fresh project into the state `name`, which `make` makes where it is not known yet."""
        if name not in self._taken:
            make()
            self._taken[name] = self._take(project)
            return
        folder, databases = self._taken[name]
        shutil.copytree(folder, project.root, dirs_exist_ok=True)
        for kind, template in databases.items():
            current = _database(kind)
            drop_databases(self.server.sandbox, current)
            copy_database(self.server.sandbox, template, current)

    def _take(self, project: Project) -> tuple[Path, dict[str, str]]:
        folder = short_folder("snap")
        for part in (project.conversations, project.baselines.parent):
            shutil.copytree(part, folder / part.relative_to(project.root), dirs_exist_ok=True)
        copies = {}
        for kind in _ADDRESSES:
            copies[kind] = f"snapshot_{kind}_{uuid4().hex[:8]}"
            copy_database(self.server.sandbox, _database(kind), copies[kind])
        return folder, copies

    def close(self) -> None:
        """Remove the files; the databases go with their server."""
        for folder, _ in self._taken.values():
            shutil.rmtree(folder, ignore_errors=True)
