"""Where a baseline's files are, and when it is finished."""

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
    """The files of one run over some tasks, in the order in which they are made."""

    folder: Path

    @property
    def tasks(self) -> Path:
        """What is to be run, one line a conversation."""
        return self.folder / "tasks.jsonl"

    @property
    def sessions(self) -> Path:
        """What happened, one line a conversation; it appears when all have run."""
        return self.folder / "sessions.jsonl"

    @property
    def plots(self) -> Path:
        """The folder of the README's pictures."""
        return self.folder / "plots"

    @property
    def report(self) -> Path:
        """How it went, as one HTML page."""
        return self.folder / "report.html"

    @property
    def partial(self) -> Path:
        """Where sessions are kept until all are through."""
        return self.folder / f"{self.sessions.name}.partial"

    @property
    def run(self) -> Path:
        """By whom and with which code `sessions` was made."""
        return self.folder / "run.json"

    @property
    def ledger(self) -> Path:
        """Every question to a model and its answer, one line an attempt."""
        return self.folder / "ledger.jsonl"

    @property
    def metrics(self) -> Path:
        """How it went, in figures."""
        return self.folder / "metrics.json"

    @property
    def readme(self) -> Path:
        """How it went, for people."""
        return self.folder / "README.md"

    def finish(self) -> None:
        """Put the sessions in place, now that all are through.

        Raises:
            InfrastructureError: the disk refused; nothing is lost.
        """
        with self._moving(self.sessions):
            _copy(self._partial_run, self.run)
            os.replace(self.partial, self.sessions)
            self._partial_run.unlink()

    def reopen(self) -> None:
        """Take the sessions out of place again, so that what has no verdict can be run again.

        Raises:
            InfrastructureError: the disk refused; nothing is lost.
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
    """The files of one baseline: those of its run, and which data it ran on."""

    key: BaselineKey

    @classmethod
    def of(cls, project: Project, key: BaselineKey) -> BaselinePaths:
        """The files of baseline `key` of `project`."""
        return cls(project.baselines / key.dataset / str(key.run) / "atlas", key)

    @property
    def revision(self) -> Path:
        """Which data: the dataset's revision."""
        return self.folder / "revision.json"

    @property
    def manifest(self) -> Path:
        """What all the files held when the baseline was finished."""
        return self.folder / "manifest.json"

    @property
    def imported(self) -> Path:
        """The results file that an imported baseline was made of, as it was given."""
        return self.folder / "imported.jsonl"

    @property
    def coverage(self) -> Path:
        """What of that file became of an imported baseline."""
        return self.folder / "import.json"

    @property
    def finished(self) -> bool:
        """Whether all sessions have run: from then on the baseline is kept as it is."""
        return self.sessions.exists()

    def protect(self, *, overwrite: bool) -> None:
        """Keep a finished baseline as it is.

        Raises:
            InputError: the baseline is finished and `overwrite` is not given.
        """
        if self.finished and not overwrite:
            raise InputError(
                f"Baseline {self.key} is finished and is kept as it is: choose another run key, or "
                "ask for it to be overwritten."
            )

    def begin(self, stage: Path, *, overwrite: bool) -> None:
        """Make way for `stage`, one of this baseline's files, to be written (again).

        What was made from an older `stage` goes, last file first, so that the folder never holds
        files of two runs.

        Raises:
            InputError: the baseline is finished and `overwrite` is not given.
        """
        self.protect(overwrite=overwrite)
        rmtree(self.plots, ignore_errors=True)  # what cannot be removed is written over later
        order = (
            *(self.revision, self.tasks, self.sessions, self.run, self.metrics, self.readme),
            *(self.report, self.manifest),
        )
        for later in reversed(order[order.index(stage) :]):
            later.unlink(missing_ok=True)
        if overwrite:
            # Sessions on the way to `sessions`; without `overwrite` they are what is gone on from.
            for partial in self.folder.glob(f"{self.sessions.name}.partial*"):
                partial.unlink(missing_ok=True)
            for file in (self.ledger, self.imported, self.coverage):
                file.unlink(missing_ok=True)


def claim_run(project: Project, dataset: str, run: RunKey) -> RunKey:
    """The first free run at or after `run`: its folder is made, so that it is nobody else's.

    Two processes that ask in the same second get two runs.
    """
    for _ in range(_CLAIM_ATTEMPTS):
        if _make_folder(project.baselines / dataset / str(run)):
            return run
        run = run.next_second()
    raise InputError(f"No free run key for dataset {dataset} from {run.timestamp} on; give one with --run.")


def release_run(project: Project, key: BaselineKey) -> None:
    """Give a claimed run back if nothing was written to it."""
    with suppress(OSError):
        (project.baselines / key.dataset / str(key.run)).rmdir()


def _make_folder(folder: Path) -> bool:
    """Make `folder`; False where it is there already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise InfrastructureError(
            f"Could not make {folder}: {error.strerror or error}; free some space or correct the "
            "permissions."
        ) from error
    return True


def finished_runs(project: Project, dataset: str) -> Iterator[BaselinePaths]:
    """The finished baselines of `dataset`, oldest first."""
    folder = project.baselines / dataset
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        key = _key_of(dataset, entry.name)
        if key is not None and BaselinePaths.of(project, key).finished:
            yield BaselinePaths.of(project, key)


def require_finished(project: Project, key: BaselineKey) -> BaselinePaths:
    """The finished baseline of `key`.

    Raises:
        InputError: it is not there or not finished; the sentence names the latest that are.
    """
    paths = BaselinePaths.of(project, key)
    if not paths.finished:
        known = [str(other.key.run) for other in finished_runs(project, key.dataset)][-_MOST_NAMED:]
        raise InputError(
            f"Run {key.run} of dataset {key.dataset} is not finished or not there: choose one of "
            f"{', '.join(known) or 'none so far'}, or run `crm-assets baseline --dataset "
            f"{key.dataset} --run {key.run}` to its end."
        )
    return paths


def _key_of(dataset: str, run: str) -> BaselineKey | None:
    """The key, or None for what is no run: notes that somebody keeps there, for example."""
    try:
        return BaselineKey.of(dataset, run)
    except InputError:
        return None
