"""Where a baseline's files are, and when it is finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.keys import BaselineKey, RunKey
from crm_assets.project import Project

__all__ = ["BaselinePaths", "claim_run", "finished_runs", "release_run"]

_CLAIM_ATTEMPTS = 600


@dataclass(frozen=True)
class BaselinePaths:
    """The files of one baseline, in the order in which they are made."""

    key: BaselineKey
    folder: Path

    @classmethod
    def of(cls, project: Project, key: BaselineKey) -> BaselinePaths:
        """The files of baseline `key` of `project`."""
        return cls(key, project.baselines / key.dataset / str(key.run) / "atlas")

    @property
    def revision(self) -> Path:
        """Which data: the dataset's revision."""
        return self.folder / "revision.json"

    @property
    def tasks(self) -> Path:
        """What is to be run, one line a conversation."""
        return self.folder / "tasks.jsonl"

    @property
    def sessions(self) -> Path:
        """What happened, one line a conversation; it appears when all have run."""
        return self.folder / "sessions.jsonl"

    @property
    def metrics(self) -> Path:
        """How it went, in figures."""
        return self.folder / "metrics.json"

    @property
    def readme(self) -> Path:
        """How it went, for people."""
        return self.folder / "README.md"

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
        order = (self.revision, self.tasks, self.sessions, self.metrics, self.readme)
        for later in reversed(order[order.index(stage) :]):
            later.unlink(missing_ok=True)
        if overwrite:
            # Sessions on the way to `sessions`; without `overwrite` they are what is gone on from.
            for partial in self.folder.glob(f"{self.sessions.name}.partial*"):
                partial.unlink(missing_ok=True)


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


def _key_of(dataset: str, run: str) -> BaselineKey | None:
    """The key, or None for what is no run: notes that somebody keeps there, for example."""
    try:
        return BaselineKey.of(dataset, run)
    except InputError:
        return None
