"""Where commands are run to be stopped: a server, projects of their own, processes that start at once.

Commands run in processes of their own, forked from one that has loaded the package, so that hundreds of
them cost minutes rather than hours.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import orjson
import yaml

from crm_assets.database import connect_databases
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.atlas.loop import models_at, small_dataset
from tests.projects import ProjectDatabases, lay_out_project
from tests.seaweed import BUCKET, Seaweed
from tests.servers import server_project, short_folder
from tests.soak.events import Hook, halted_marker, install, read_events

__all__ = [
    "CONVERSATIONS",
    "DATASET",
    "RUN",
    "Ended",
    "Ground",
    "Place",
    "Process",
    "lonely_place",
    "open_ground",
]

DATASET, RUN = "small", "20260131T093000Z"
CONVERSATIONS = 3
_IDLE_SECONDS = 120.0
"""A command that uses no processor for so long is stuck, however busy the machine is."""

_INHERITED = ("HOME", "PATH", "TMPDIR")

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.soak.loaded"])


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    command: str
    exit_code: int
    """Negative: the signal that ended it."""
    out: str
    err: str
    events: list[str]
    stuck: bool

    @property
    def traceback(self) -> bool:
        """Tell if it showed one."""
        return "Traceback (most recent call last)" in self.err + self.out


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], files: tuple[Path, Path], hook: Hook | None
) -> None:
    root = environment["CRM_ASSETS_HOME"]
    for descriptor, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(root)
    sys.argv = ["crm-assets", *arguments]
    if hook is not None:
        install(hook)
    from crm_assets.cli import main

    main()


@dataclass
class Process:
    """A command that runs."""

    _process: multiprocessing.process.BaseProcess
    _command: str
    _out: Path
    _err: Path
    _report: Path | None

    @property
    def pid(self) -> int:
        """Return its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell if it has not ended."""
        return self._process.is_alive()

    @property
    def marker(self) -> Path:
        """Return the file that is there while it is halted; remove it to let it go on."""
        assert self._report is not None
        return halted_marker(self._report)

    def wait(self) -> Ended:
        """Wait for its end; it is killed when it is stuck."""
        worked_at, worked, stuck = time.monotonic(), self._processor_time(), False
        while self._process.is_alive() and not stuck:
            self._process.join(1.0)
            if (now := self._processor_time()) != worked:
                worked_at, worked = time.monotonic(), now
            stuck = time.monotonic() - worked_at > _IDLE_SECONDS
        if stuck:
            self._process.kill()
            self._process.join()
        return Ended(
            self._command,
            self._process.exitcode or 0,
            self._out.read_text() if self._out.exists() else "",
            self._err.read_text() if self._err.exists() else "",
            read_events(self._report) if self._report else [],
            stuck,
        )

    def _processor_time(self) -> list[str]:
        """Return the time that it has used, in the system's ticks; nothing once it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return []
        return fields[11:13]


@dataclass
class Place:
    """A project, and the commands that run in it."""

    project: Project
    environment: dict[str, str]
    _logs: Path
    _started: int = 0
    store: Seaweed | None = None
    """Where its artifacts are, if not in its folder."""

    def keep_artifacts_in(self, store: Seaweed) -> None:
        """Let the commands keep the artifacts in a store."""
        self.store = store
        self.environment |= {**store.environment, "CRM_ASSETS_ARTIFACTS": f"s3://{BUCKET}/soak"}

    @property
    def paths(self) -> BaselinePaths:
        """Return the files of the run."""
        return BaselinePaths.of(self.project, BaselineKey.of(DATASET, RUN))

    def start(
        self, *arguments: str, action: str | None = None, at: int = 0, count: bool = False
    ) -> Process:
        """Start `crm-assets` with these arguments."""
        self._started += 1
        out, err, report = (self._logs / f"{self._started}.{kind}" for kind in ("out", "err", "events"))
        hook = Hook(report, self.project.root, action, at) if action or count else None
        process = _FORKS.Process(target=_run, args=(arguments, self.environment, (out, err), hook))
        process.start()
        return Process(process, " ".join(arguments), out, err, report if hook else None)

    def run(self, *arguments: str, action: str | None = None, at: int = 0, count: bool = False) -> Ended:
        """Run `crm-assets` with these arguments to its end."""
        return self.start(*arguments, action=action, at=at, count=count).wait()


@dataclass
class Ground:
    """A server of databases; `place` lends projects on it."""

    server: Project
    databases: ProjectDatabases

    @contextmanager
    def place(self, url: str, **model: float) -> Iterator[Place]:
        """Yield a project whose models are at `url`; `model` has more of their configuration."""
        with self.databases.lend() as variables, lonely_place(url, variables, **model) as place:
            yield place


@contextmanager
def lonely_place(
    url: str, variables: Mapping[str, str] = MappingProxyType({}), **model: float
) -> Iterator[Place]:
    """Yield a project whose models are at `url`; without `variables` it has a server of its own."""
    project, logs = Project(short_folder()), short_folder("log")
    lay_out_project(project)
    lines = (orjson.dumps(one) + b"\n" for one in small_dataset(CONVERSATIONS, seed=5, turns=3))
    project.dataset_file(DATASET).write_bytes(b"".join(lines))
    config = {
        **models_at(url, **model),
        "orchestration": {"forced_mode": "paired"},
        "runtime_safety": {"review": {"require_approval": False}},
    }
    (project.configs / "soak.yaml").write_text(yaml.safe_dump(config))
    own = {
        "CRM_ASSETS_HOME": str(project.root),
        "DAGSTER_HOME": str(project.dagster_home),
        "OPENAI_API_KEY": "soak-key-4711",
        "COLUMNS": "160",
        **variables,
    }
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        yield Place(project, {**inherited, **own}, logs)
    finally:
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.rmtree(logs, ignore_errors=True)


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Yield a server of its own with room for projects."""
    with server_project() as server:
        databases = ProjectDatabases(connect_databases(server))
        with databases.lend():
            pass  # makes the templates before several ask for them
        yield Ground(server, databases)
