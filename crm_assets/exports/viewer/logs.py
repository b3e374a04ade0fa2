"""The logs of a viewer: made when they are asked for, kept under the hash of their sessions."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from crm_assets import __version__
from crm_assets.concurrency import deaf_to_interrupts, gather_all
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.jsonl import read_lines
from crm_assets.workspace.manifest import read_manifest
from crm_assets.workspace.project import Project

__all__ = ["FORM", "LogStore", "ShownRun"]

FORM: Final = 1
"""Version of the form of exported logs: older ones are made again."""

_FIRST: Final = 100  # sessions that are shown at once
_TELL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class ShownRun:
    """A run in the viewer, perhaps compared with another one."""

    paths: BaselinePaths
    against: BaselinePaths | None = None

    @property
    def log(self) -> str:
        """Return the name of its log."""
        run = str(self.paths.key.run)
        return f"{run}_vs_{self.against.key.run}.eval" if self.against else f"{run}.eval"

    def content(self) -> str:
        """Return a hash of what its log is made from.

        Raises:
            InputError: a manifest was changed.
        """
        parts = [__version__, str(FORM), *(_sessions_hash(paths) for paths in self._all)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def _all(self) -> tuple[BaselinePaths, ...]:
        return (self.paths, self.against) if self.against else (self.paths,)


def _sessions_hash(paths: BaselinePaths) -> str:
    """Return the hash of the sessions: the manifest's, as reading the file takes long."""
    stat = paths.sessions.stat()
    try:
        known = read_manifest(paths).files[paths.sessions.name]
    except (InputError, KeyError):  # of a first version, or changed since
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    return known.sha256 if known.bytes == stat.st_size else f"{stat.st_size}-{stat.st_mtime_ns}"


@dataclass
class LogStore:
    """Makes the logs of a project's runs, each in a process of its own, and keeps them."""

    project: Project
    say: Callable[[str], None]
    """Called with a line for the user."""
    _begun: dict[Path, _Beginning] = field(default_factory=dict)
    _writing: defaultdict[Path, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _scratch: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    _exports: dict[Path, _Export] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _failed: set[Path] = field(default_factory=set)
    _closing: bool = False

    async def ensure(self, run: ShownRun, wanted: str | None = None) -> None:
        """Have at least the first sessions of a run in a log.

        Args:
            run: the run.
            wanted: a conversation that is to be there in any case.

        Raises:
            InputError: its sessions cannot be read.
            InfrastructureError: a file cannot be written.
        """
        target = self.file(run)
        async with self._writing[target]:
            begun = self._begun.get(target)
            if target.is_file() or (begun is not None and wanted in (None, *begun.conversations)):
                return
            file = Path(self._scratch.name) / run.paths.key.dataset / target.name
            begun = await asyncio.to_thread(_begin, run, target, file, wanted)
            if begun is not None:
                self._begun[target] = begun

    def complete(self, run: ShownRun) -> bool:
        """Return whether the whole log of a run is there; begin with it otherwise.

        Not before it is asked for: by then a page shows the first sessions, and has the processor no more.
        """
        target = self.file(run)
        if target.is_file():
            return True
        if target in self._begun and target not in self._exports and target not in self._failed:
            self._exports[target] = _Export(run, target)
            task = asyncio.create_task(self._watch(run, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return False

    def current(self, run: ShownRun) -> Path | None:
        """Return the log of a run as far as it is there."""
        target = self.file(run)
        begun = self._begun.get(target)
        return target if target.is_file() else begun.file if begun else None

    def file(self, run: ShownRun) -> Path:
        """Return the file that the log of a run is kept in."""
        folder = self.project.state / "transcripts" / run.paths.key.dataset
        return folder / f"{run.log.removesuffix('.eval')}.{run.content()}.eval"

    async def _watch(self, run: ShownRun, target: Path) -> None:
        """Tell how an export goes on, until it ends."""
        key, export = run.paths.key, self._exports[target]
        while not await asyncio.to_thread(export.ended, _TELL_SECONDS):
            self.say(f"{key.dataset} {key.run}: {export.done:,} sessions …")
        del self._exports[target]
        if not target.is_file():
            self._failed.add(target)
            if not self._closing:
                self.say(f"{key.dataset} {key.run} could not be exported: only its beginning is shown.")
            return
        _remove_older(run, target)

    async def close(self) -> None:
        """End the exports that are under way, and remove what was begun."""
        self._closing = True
        for export in self._exports.values():
            export.stop()
        await gather_all(self._tasks)  # each waits for its export
        self._scratch.cleanup()


class _Beginning(NamedTuple):
    """The log of a run's first sessions."""

    file: Path
    conversations: frozenset[str]


def _begin(run: ShownRun, target: Path, file: Path, wanted: str | None) -> _Beginning | None:
    """Write the first sessions of a run to `file`; None if that is all of them, and `target` is there."""
    # Here and not above: the server listens meanwhile, and the page is on its way.
    from crm_assets.exports.inspect_log import write_beginning, write_inspect_log  # noqa: PLC0415

    lines = itertools.islice(read_lines(run.paths.sessions), _FIRST + 1)
    if sum(1 for _ in lines) <= _FIRST:
        write_inspect_log(run.paths, target, against=run.against, for_viewer=True)
        _remove_older(run, target)
        return None
    return _Beginning(file, write_beginning(run.paths, file, most=_FIRST, wanted=wanted))


def _remove_older(run: ShownRun, target: Path) -> None:
    for older in target.parent.glob(f"{run.log.removesuffix('.eval')}.*.eval"):
        if older != target:
            older.unlink(missing_ok=True)


class _Export:
    """The export of one run in a process of its own, so that the server answers meanwhile."""

    def __init__(self, run: ShownRun, target: Path) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._done = spawned.Value("q", 0, lock=False)
        self._process = spawned.Process(
            target=_export, args=(run.paths, target, run.against, self._done), daemon=True
        )
        with deaf_to_interrupts():  # the server ends it
            self._process.start()

    @property
    def done(self) -> int:
        """Sessions written so far."""
        return int(self._done.value)

    def ended(self, seconds: float) -> bool:
        """Wait for the end, at most so many seconds; return True if it has come."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def stop(self) -> None:
        """Tell it to end; it removes what it wrote so far."""
        self._process.terminate()


def _export(paths: BaselinePaths, target: Path, against: BaselinePaths | None, done: Any) -> None:
    os.nice(10)  # the page that waits comes first
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that half a file is removed

    def tell(samples: int) -> None:
        done.value = samples

    try:
        from crm_assets.exports.inspect_log import write_inspect_log  # noqa: PLC0415

        write_inspect_log(paths, target, against=against, for_viewer=True, progress=tell)
    except CrmAssetsError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to remove, nor anything to say
