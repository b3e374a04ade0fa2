"""The files of a baseline, and the rules that protect a finished one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.files import atomic_writer
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project

__all__ = [
    "BaselinePaths",
    "RunFiles",
    "baseline_at",
    "claim_run",
    "finished_runs",
    "release_run",
    "require_finished",
    "sidecar_of",
]

_CLAIM_ATTEMPTS = 600
_MOST_NAMED = 5


@dataclass(frozen=True)
class RunFiles:
    """The files of one run over some tasks, in the order of their creation."""

    folder: Path

    @property
    def tasks(self) -> Path:
        """Return the file of the tasks, one line per conversation."""
        return self.folder / "tasks.jsonl"

    @property
    def sessions(self) -> Path:
        """Return the file of the sessions, one line per conversation; it appears when all have run."""
        return self.folder / "sessions.jsonl"

    @property
    def plots(self) -> Path:
        """Return the folder of the README's pictures."""
        return self.folder / "plots"

    @property
    def report(self) -> Path:
        """Return the file of the report, one HTML page."""
        return self.folder / "report.html"

    @property
    def partial(self) -> Path:
        """Return the file of the sessions while some have not run."""
        return self.folder / f"{self.sessions.name}.partial"

    @property
    def run(self) -> Path:
        """Return the file of the run's facts: agent, models, code."""
        return self.folder / "run.json"

    @property
    def ledger(self) -> Path:
        """Return the file of all requests to models and their replies, one line per attempt."""
        return self.folder / "ledger.jsonl"

    @property
    def playbook(self) -> Path:
        """Return the file of the playbook before and after the run."""
        return self.folder / "playbook.json"

    @property
    def metrics(self) -> Path:
        """Return the file of the metrics."""
        return self.folder / "metrics.json"

    @property
    def readme(self) -> Path:
        """Return the file of the README."""
        return self.folder / "README.md"

    def finish(self) -> None:
        """Move the sessions into place after all have run.

        Raises:
            InfrastructureError: a file cannot be moved; nothing is lost.
        """
        with self._moving(self.sessions):
            _copy(self._partial_run, self.run)
            os.replace(self.partial, self.sessions)
            self._partial_run.unlink()

    def reopen(self) -> None:
        """Move the sessions back, so that those without a verdict can be run again.

        Raises:
            InfrastructureError: a file cannot be moved; nothing is lost.
        """
        with self._moving(self.sessions):
            _copy(self.run, self._partial_run)
            os.replace(self.sessions, self.partial)

    @property
    def _partial_run(self) -> Path:
        """Which run the partial sessions are of."""
        return sidecar_of(self.partial)

    @contextmanager
    def _moving(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InfrastructureError(
                f"Could not move {path}: {error.strerror or error}; correct that and run it again."
            ) from error


def sidecar_of(path: Path) -> Path:
    """Return the file beside a results file that says which run it is of."""
    return path.with_name(f"{path.name}.run.json")


def _copy(source: Path, target: Path) -> None:
    with atomic_writer(target) as handle:
        handle.write(source.read_bytes())


@dataclass(frozen=True)
class BaselinePaths(RunFiles):
    """The files of one baseline: those of its run, and its dataset's revision."""

    key: BaselineKey

    @classmethod
    def of(cls, project: Project, key: BaselineKey) -> BaselinePaths:
        """Return the files of baseline `key` of `project`."""
        return cls(project.baselines / key.dataset / str(key.run) / "atlas", key)

    @property
    def revision(self) -> Path:
        """Return the file of the dataset's revision."""
        return self.folder / "revision.json"

    @property
    def manifest(self) -> Path:
        """Return the file with sizes and hashes of the finished baseline's files."""
        return self.folder / "manifest.json"

    @property
    def labels(self) -> Path:
        """Return the file of people's labels; beside the folder, whose files stay as they were finished."""
        return self.folder.with_name("labels.json")

    @property
    def imported(self) -> Path:
        """Return the copy of the results file that an imported baseline was made from."""
        return self.folder / "imported.jsonl"

    @property
    def coverage(self) -> Path:
        """Return the file that says which lines of the results file were imported."""
        return self.folder / "import.json"

    @property
    def finished(self) -> bool:
        """Return True if all sessions have run; from then on the baseline is protected."""
        return self.sessions.exists()

    def protect(self, *, overwrite: bool) -> None:
        """Refuse to change a finished baseline.

        Raises:
            InputError: the baseline is finished and `overwrite` is False.
        """
        if self.finished and not overwrite:
            raise InputError(
                f"Baseline {self.key} is finished and protected: choose another run key, or set overwrite."
            )

    def begin(self, stage: Path, *, overwrite: bool) -> None:
        """Prepare for writing `stage`, one of this baseline's files.

        Files that were made from an older `stage` are removed, the last one first, so that the folder
        never holds files of two runs.

        Raises:
            InputError: the baseline is finished and `overwrite` is False.
        """
        self.protect(overwrite=overwrite)
        rmtree(self.plots, ignore_errors=True)  # remaining files are overwritten later
        order = (
            *(self.revision, self.tasks, self.sessions, self.run, self.metrics, self.readme),
            *(self.report, self.manifest),
        )
        for later in reversed(order[order.index(stage) :]):
            later.unlink(missing_ok=True)
        if overwrite:
            # Unfinished sessions; without `overwrite` they are resumed.
            for partial in self.folder.glob(f"{self.sessions.name}.partial*"):
                partial.unlink(missing_ok=True)
            for file in (self.ledger, self.playbook, self.imported, self.coverage):
                file.unlink(missing_ok=True)


def claim_run(project: Project, dataset: str, run: RunKey) -> RunKey:
    """Return the first free run at or after `run`, and create its folder to reserve it.

    Two processes that ask in the same second get two runs.

    Raises:
        InputError: no run is free in the next ten minutes.
        InfrastructureError: the folder cannot be created.
    """
    for _ in range(_CLAIM_ATTEMPTS):
        if _make_folder(project.baselines / dataset / str(run)):
            return run
        run = run.next_second()
    raise InputError(
        f"No free run key for dataset {dataset} from {run.timestamp} on; set another one with --run."
    )


def release_run(project: Project, key: BaselineKey) -> None:
    """Remove the folder of a reserved run if it is empty."""
    with suppress(OSError):
        (project.baselines / key.dataset / str(key.run)).rmdir()


def _make_folder(folder: Path) -> bool:
    """Create `folder`; return False if it exists already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise InfrastructureError(
            f"Could not create {folder}: {error.strerror or error}; free some space or correct the "
            "permissions."
        ) from error
    return True


def finished_runs(project: Project, dataset: str) -> Iterator[BaselinePaths]:
    """Yield the finished baselines of `dataset`, oldest first."""
    folder = project.baselines / dataset
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        key = _key_of(dataset, entry.name)
        if key is not None and BaselinePaths.of(project, key).finished:
            yield BaselinePaths.of(project, key)


def baseline_at(project: Project, folder: Path) -> BaselinePaths | None:
    """Return the baseline whose files are in `folder`; None for a folder that is no baseline's."""
    run = folder.resolve().parent
    try:
        paths = BaselinePaths.of(project, BaselineKey.of(run.parent.name, run.name))
    except InputError:
        return None
    return paths if paths.folder.resolve() == folder.resolve() else None


def require_finished(project: Project, key: BaselineKey) -> BaselinePaths:
    """Return the finished baseline of `key`.

    Raises:
        InputError: it is missing or not finished; the message names the latest finished runs.
    """
    paths = BaselinePaths.of(project, key)
    if not paths.finished:
        known = [str(other.key.run) for other in finished_runs(project, key.dataset)][-_MOST_NAMED:]
        others = f"choose one of {', '.join(known)}" if known else "there are no finished runs yet"
        raise InputError(
            f"Run {key.run} of dataset {key.dataset} is missing or not finished: {others}, or complete it "
            f"with `crm-assets baseline --dataset {key.dataset} --run {key.run}`."
        )
    return paths


def _key_of(dataset: str, run: str) -> BaselineKey | None:
    """Return the key; None for a folder that is not a run, such as one with notes."""
    try:
        return BaselineKey.of(dataset, run)
    except InputError:
        return None
