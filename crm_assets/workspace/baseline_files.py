"""The files of a baseline, and the rules that protect a finished one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.files import REPLACED, FileStamp, atomic_writer, remove_unfinished, stamp_of
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import stored_artifacts

if TYPE_CHECKING:
    from crm_assets.workspace.store import Artifacts

__all__ = [
    "BaselinePaths",
    "RunFiles",
    "baseline_at",
    "claim_run",
    "datasets_with_run",
    "datasets_with_runs",
    "finished_runs",
    "is_planned",
    "plan_run",
    "prefetch",
    "release_run",
    "runs_of",
    "sidecar_of",
]

_CLAIM_ATTEMPTS = 600


@dataclass(frozen=True)
class RunFiles:
    """The files of one run over some tasks, in the order of their creation."""

    folder: Path

    def _file(self, name: str) -> Path:
        return self.folder / name

    @property
    def tasks(self) -> Path:
        """Return the file of the tasks, one line per conversation."""
        return self._file("tasks.jsonl")

    @property
    def sessions(self) -> Path:
        """Return the file of the sessions, one line per conversation; it appears when all have run."""
        return self._file("sessions.jsonl")

    @property
    def plots(self) -> Path:
        """Return the folder of the README's pictures."""
        return self.folder / "plots"

    @property
    def report(self) -> Path:
        """Return the file of the report, one HTML page."""
        return self._file("report.html")

    @property
    def partial(self) -> Path:
        """Return the file of the sessions while some have not run."""
        return self._file("sessions.jsonl.partial")

    @property
    def run(self) -> Path:
        """Return the file of the run's facts: agent, models, code."""
        return self._file("run.json")

    @property
    def ledger(self) -> Path:
        """Return the file of all requests to models and their replies, one line per attempt."""
        return self._file("ledger.jsonl")

    @property
    def requests(self) -> Path:
        """Return the file of what models were asked, one line per call and shared text, compressed."""
        return self._file("requests.jsonl.gz")

    @property
    def playbook(self) -> Path:
        """Return the file of the playbook before and after the run."""
        return self._file("playbook.json")

    @property
    def metrics(self) -> Path:
        """Return the file of the metrics."""
        return self._file("metrics.json")

    @property
    def readme(self) -> Path:
        """Return the file of the README."""
        return self._file("README.md")

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

    def remove_unfinished(self) -> None:
        """Remove what a process that was killed left among the files; nobody may write there."""
        remove_unfinished(self.folder)
        if not self.partial.exists():
            self._partial_run.unlink(missing_ok=True)  # killed in `finish` or `reopen`

    @property
    def _partial_run(self) -> Path:
        """The run of the partial sessions."""
        return sidecar_of(self.partial)

    @contextmanager
    def _moving(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InfrastructureError(
                f"Could not move {path}: {error.strerror or error}; what is finished is kept."
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
    store: Project | None = field(default=None, repr=False, compare=False)
    """The project, if its artifacts are in a store: asking for a file's path brings the file here."""

    @classmethod
    def of(cls, project: Project, key: BaselineKey) -> BaselinePaths:
        """Return the files of baseline `key` of `project`."""
        folder = project.baselines / key.dataset / str(key.run) / "atlas"
        return cls(folder, key, project if project.artifacts_url else None)

    @property
    def copies(self) -> Artifacts | None:
        """Return the local copies of the store that the artifacts are in; None without one."""
        return stored_artifacts(self.store) if self.store else None

    def _file(self, name: str) -> Path:
        return self._brought(self.folder / name)

    def _brought(self, path: Path) -> Path:
        if copies := self.copies:
            copies.bring(path)
        return path

    def stamp(self, name: str) -> FileStamp | None:
        """Return size and time of a file of the folder, wherever it is; None if there is none."""
        path = self.folder / name
        copies = self.copies
        return copies.stamp(path) if copies else stamp_of(path)

    def _has(self, name: str) -> bool:
        return self.stamp(name) is not None

    def bring_all(self, *, replaced: bool = False) -> None:
        """Bring all files here from a store; those that were `replaced` only where asked."""
        if copies := self.copies:
            copies.bring_all(self.folder, replaced=replaced)

    @property
    def revision(self) -> Path:
        """Return the file of the dataset's revision."""
        return self._file("revision.json")

    @property
    def manifest(self) -> Path:
        """Return the file with sizes and hashes of the finished baseline's files."""
        return self._file("manifest.json")

    @property
    def labels(self) -> Path:
        """Return the file of people's labels; beside the folder, whose files stay as they were finished."""
        return self._brought(self.folder.with_name("labels.json"))

    @property
    def notes(self) -> Path:
        """Return the file of people's notes and tags; beside the folder, too."""
        return self._brought(self.folder.with_name("notes.jsonl"))

    @property
    def imported(self) -> Path:
        """Return the copy of the results file that an imported baseline was made from."""
        return self._file("imported.jsonl")

    @property
    def coverage(self) -> Path:
        """Return the file that says which lines of the results file were imported."""
        return self._file("import.json")

    @property
    def plan(self) -> Path:
        """Return the file of the options that the run's sessions began with."""
        return self._file("plan.json")

    @property
    def has_sessions(self) -> bool:
        """Return True if all sessions have run; from then on they are protected."""
        return self._has("sessions.jsonl")

    @property
    def is_scored(self) -> bool:
        """Return True if the metrics are there."""
        return self._has("metrics.json")

    @property
    def is_under_way(self) -> bool:
        """Return True if some sessions have run."""
        return self._has("sessions.jsonl.partial")

    @property
    def is_import(self) -> bool:
        """Return True if it is made of a results file of the past."""
        return self._has("imported.jsonl")

    @property
    def is_only_here(self) -> bool:
        """Return True if it is finished, and the store does not have all of it."""
        copies = self.copies
        return copies is not None and self.finished and copies.is_only_here(self.folder / "manifest.json")

    @property
    def begun(self) -> bool:
        """Return True if sessions have begun: revision and tasks are then theirs."""
        return self.has_sessions or self.is_under_way

    @property
    def is_sealed(self) -> bool:
        """Return True if the manifest is there."""
        return self._has("manifest.json")

    @property
    def finished(self) -> bool:
        """Return True if the baseline is whole: its manifest, which is written last, is there.

        The first versions wrote no manifest, and no plan: their baselines end with the README.
        """
        sealed = self.is_sealed or not self._has("plan.json")
        return sealed and all(self._has(part) for part in ("sessions.jsonl", "metrics.json", "README.md"))

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
        never holds files of two runs. Where anything was run, `overwrite` moves the folder aside instead:
        nothing that was paid for is deleted.

        Raises:
            InputError: its sessions are done and `overwrite` is False.
            InfrastructureError: the folder cannot be moved.
        """
        self.protect(overwrite=overwrite)
        if self.has_sessions and not overwrite:
            raise InputError(
                f"The sessions of baseline {self.key} are done and protected: choose another run key, or "
                "set overwrite."
            )
        order = (
            *(self.revision, self.tasks, self.sessions, self.run, self.metrics, self.readme),
            *(self.report, self.manifest),
        )
        if overwrite and (self.begun or self.ledger.exists()):
            self._move_aside(keep=order[: order.index(stage)])
            return
        rmtree(self.plots, ignore_errors=True)  # remaining files are overwritten later
        for later in reversed(order[order.index(stage) :]):
            later.unlink(missing_ok=True)
        if overwrite:
            for file in (self.playbook, self.plan, self.imported, self.coverage):
                file.unlink(missing_ok=True)

    @property
    def replaced(self) -> list[Path]:
        """Return the folders that were moved aside, oldest first."""
        self.bring_all(replaced=True)
        return sorted(self.folder.parent.glob(f"{REPLACED}*"))

    def _move_aside(self, *, keep: Iterable[Path]) -> None:
        """Rename the folder; copy back the files to `keep`, as far as they are there."""
        now = datetime.now(timezone.utc)
        aside = self.folder.with_name(f"{REPLACED}{now:%Y%m%dT%H%M%S.%fZ}")
        self.bring_all()
        with self._moving(self.folder):
            self.folder.rename(aside)
            self.folder.mkdir()
            for file in keep:
                if (old := aside / file.name).is_file():
                    _copy(old, file)

    def restore(self) -> None:
        """Bring back the files that were moved aside last; those that are there now are moved aside.

        Raises:
            InputError: none were moved aside.
            InfrastructureError: the folder cannot be moved.
        """
        if not (found := self.replaced):
            raise InputError(f"Nothing of baseline {self.key} was replaced, so nothing can be restored.")
        with self._moving(self.folder):
            if self.folder.exists():
                self._move_aside(keep=())
                self.folder.rmdir()
            found[-1].rename(self.folder)

    def unpublish(self) -> None:
        """Remove what says that the baseline is finished, before its metrics are replaced.

        Raises:
            InfrastructureError: a file cannot be removed.
        """
        with self._moving(self.manifest):
            for file in (self.readme, self.manifest):
                file.unlink(missing_ok=True)


def claim_run(project: Project, dataset: str, run: RunKey) -> RunKey:
    """Return the first free run at or after `run`, and create its folder to reserve it.

    Two processes that ask in the same second get two runs.

    Raises:
        InputError: no run is free in the next ten minutes.
        InfrastructureError: the folder cannot be created.
    """
    for _ in range(_CLAIM_ATTEMPTS):
        if _reserve(project, project.baselines / dataset / str(run)):
            return run
        run = run.next_second()
    raise InputError(
        f"No free run key for dataset {dataset} from {run.timestamp} on; set another one with --run."
    )


def plan_run(project: Project, key: BaselineKey) -> None:
    """Create the folder of a run that is to be made later: it is planned from then on.

    Raises:
        InfrastructureError: the folder cannot be created.
    """
    _reserve(project, project.baselines / key.dataset / str(key.run))


def datasets_with_run(project: Project, run: RunKey) -> list[str]:
    """Return the datasets for which somebody planned or began `run`."""
    found = {folder.parent.name for folder in project.baselines.glob(f"*/{run}") if folder.is_dir()}
    if copies := stored_artifacts(project):
        found |= {each for each in copies.datasets() if str(run) in copies.runs(each)}
    return sorted(found)


def datasets_with_runs(project: Project) -> list[str]:
    """Return the datasets that have runs, or had files beside them."""
    folder = project.baselines
    found = {each.name for each in folder.iterdir() if each.is_dir()} if folder.is_dir() else set()
    if copies := stored_artifacts(project):
        found |= set(copies.datasets())
    return sorted(found)


def is_planned(paths: BaselinePaths) -> bool:
    """Return True if somebody planned or began this run: it has a folder."""
    if paths.folder.parent.is_dir():
        return True
    copies = paths.copies
    return copies is not None and copies.knows(paths.folder)


def release_run(project: Project, key: BaselineKey) -> None:
    """Remove the folder of a reserved run if it is empty."""
    folder = project.baselines / key.dataset / str(key.run)
    if copies := stored_artifacts(project):
        with suppress(InfrastructureError):  # of a store that is away: a planned run does no harm
            copies.release(folder)
    with suppress(OSError):
        folder.rmdir()


def _reserve(project: Project, folder: Path) -> bool:
    """Create a run's folder; return False if somebody has it already, here or elsewhere."""
    if not _make_folder(folder):
        return False
    reserved = False
    try:
        copies = stored_artifacts(project)
        reserved = copies is None or copies.reserve(folder)
    finally:
        if not reserved:
            folder.rmdir()
    return reserved


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


def runs_of(project: Project, dataset: str) -> Iterator[BaselinePaths]:
    """Yield the files of every run of `dataset` that has a folder, oldest first."""
    folder = project.baselines / dataset
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if copies := stored_artifacts(project):
        names |= set(copies.runs(dataset))
    for name in sorted(names):
        try:
            key = BaselineKey.of(dataset, name)
        except InputError:
            continue  # no run: the history's picture, say, or notes
        yield BaselinePaths.of(project, key)


def prefetch(runs: Sequence[BaselinePaths]) -> None:
    """Bring figures and notes of many runs from a store, several at a time."""
    if copies := runs[0].copies if runs else None:
        notes = (paths.folder.with_name("notes.jsonl") for paths in runs)
        copies.bring(*(paths.folder / "metrics.json" for paths in runs), *notes)


def finished_runs(project: Project, dataset: str) -> Iterator[BaselinePaths]:
    """Yield the finished baselines of `dataset`, oldest first."""
    return (paths for paths in runs_of(project, dataset) if paths.finished)


def baseline_at(project: Project, folder: Path) -> BaselinePaths | None:
    """Return the baseline whose files are in `folder`; None for a folder that is no baseline's."""
    run = folder.resolve().parent
    try:
        paths = BaselinePaths.of(project, BaselineKey.of(run.parent.name, run.name))
    except InputError:
        return None
    return paths if paths.folder.resolve() == folder.resolve() else None
