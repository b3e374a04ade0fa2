"""A results file that can be interrupted and resumed.

Beside it stands `<name>.run.json`, which says of which run it is. Records are appended as sessions end; a
line torn by a crash is cut off at the next start, sessions without a verdict because something around the
agent failed or the budget was spent are run again, and once all are there they are put in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import orjson

from crm_assets.engine.identity import FIRST_EPOCH, session_key
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.records import merge_software
from crm_assets.workspace.baseline_files import sidecar_of
from crm_assets.workspace.files import atomic_writer
from crm_assets.workspace.jsonl import open_locked, read_lines, read_lines_at, write_lines

__all__ = [
    "Checkpoint",
    "SessionCounts",
    "SessionLine",
    "finished_sessions",
    "read_entry",
    "require_same_run",
    "tally_of",
]

_TO_BE_RUN_AGAIN = frozenset({"infrastructure_error", "not_run"})


@dataclass
class SessionCounts:
    """Counts of the sessions that are done."""

    total: int = 0
    succeeded: int = 0
    """Strict success: every turn and the end state are right."""
    failed: int = 0
    """Have a verdict and did not succeed."""
    infrastructure_errors: int = 0
    not_recorded: int = 0
    not_run: int = 0
    """The budget did not suffice for them."""
    undecided: int = 0
    """Ran to their end and have no verdict."""

    @property
    def to_be_run_again(self) -> int:
        """Number without a verdict since something around the agent failed, or the budget was spent."""
        return self.infrastructure_errors + self.not_run

    def add(self, status: str, success: bool | None) -> None:
        """Count one session."""
        self.total += 1
        self.succeeded += success is True
        self.failed += success is False
        self.infrastructure_errors += status == "infrastructure_error"
        self.not_recorded += status == "not_recorded"
        self.not_run += status == "not_run"
        self.undecided += status == "completed" and success is None


class SessionLine(NamedTuple):
    """The record of a finished session."""

    key: str
    status: str
    success: bool | None
    line: bytes


class Checkpoint:
    """Appends records to `path`; knows which were there before."""

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Open nothing yet.

        Args:
            path: where the records go.
            identity: what makes the run this run; only the same is resumed.
            facts: what else is kept of it. A run that is resumed may have seen other software before.
            overwrite: start over even if `path` exists.
        """
        self.path = path
        self.tally = SessionCounts()
        self.finished: set[str] = set()
        """Keys of the sessions that are done."""
        self._offsets: dict[str, int] = {}
        self._end = 0
        self._identity = dict(identity)
        self._facts = dict(facts or {})
        self._sidecar = sidecar_of(path)
        self._handle: FileIO | None = None
        self._lock: FileIO | None = None
        self._overwrite = overwrite

    def __enter__(self) -> Checkpoint:
        """Open it, resuming what is there.

        Raises:
            InputError: it is of another run, is no results file of ours, or another process writes it.
            InfrastructureError: the disk refused.
        """
        try:
            self._lock = self._claim()
            if self._overwrite:
                self.path.unlink(missing_ok=True)
            if self.path.exists() and self.path.stat().st_size:
                before = self._check_identity(self._lock)
                if "software" in self._facts:
                    software = merge_software(before.get("software") or {}, self._facts["software"])
                    self._facts["software"] = software
                self._recover()
            self._write_header(self._lock)
            self._handle = self.path.open("ab", buffering=0)
        except BaseException as error:
            self._close()
            if isinstance(error, (OSError, InfrastructureError)):
                with suppress(OSError):  # what cannot be seen cannot be tidied up either
                    if not self.path.exists():
                        self._sidecar.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._disk(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._close()
        except OSError as failure:
            if kind is None:
                raise self._disk(failure) from failure

    def _close(self) -> None:
        for handle in (self._handle, self._lock):
            if handle is not None:
                handle.close()

    def _claim(self) -> FileIO:
        """Keep other processes from writing the same results, even while the file itself is replaced."""
        return open_locked(self._sidecar, guards=self.path)

    def _write_header(self, lock: FileIO) -> None:
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        text = orjson.dumps({**self._identity, **self._facts}, option=options)
        lock.seek(0)
        if lock.read() != text:
            lock.truncate(0)
            self._write(lock, [text])

    def append(self, entries: Sequence[SessionLine]) -> None:
        """Write the records of finished sessions.

        Raises:
            InfrastructureError: the disk refused; records that were written whole are kept.
        """
        assert self._handle is not None  # only within the with block
        self._write(self._handle, [entry.line for entry in entries])
        for key, status, success, line in entries:
            self._note(key, status, success, self._end)
            self._end += len(line)

    def _note(self, key: str, status: str, success: bool | None, offset: int) -> None:
        """Count a session that is done, and remember where its line begins."""
        self.finished.add(key)
        self._offsets[key] = offset
        self.tally.add(status, success)

    def _write(self, handle: FileIO, lines: list[bytes]) -> None:
        try:
            write_lines(handle, lines)
        except OSError as error:
            raise self._disk(error) from error

    def finish(self, order: Iterable[str]) -> None:
        """Put the lines in `order`, now that all are there."""
        assert self._handle is not None
        try:
            os.fsync(self._handle.fileno())
            self._sort(order)
        except OSError as error:
            raise self._disk(error) from error

    def _check_identity(self, lock: FileIO) -> dict[str, Any]:
        """Return what is kept of the run so far, if it is this one."""
        lock.seek(0)
        try:
            before = orjson.loads(lock.read())
        except orjson.JSONDecodeError:
            before = None
        if not isinstance(before, dict):
            raise InputError(
                f"{self.path} exists and does not say which run it is of ({self._sidecar.name} is "
                "missing); choose another output file or overwrite it."
            )
        require_same_run(self.path, before, self._identity, self._facts)
        return before

    def _recover(self) -> None:
        """Read what is done; rewrite the file without torn lines and ones to be run again."""
        clean = True
        for line in read_lines(self.path):
            entry = None if line.is_torn else read_entry(line.data)
            if entry is None or entry[1] in _TO_BE_RUN_AGAIN:
                clean = False
            else:
                self._note(*entry, line.offset)
            self._end = line.offset + len(line.data)
        if not clean:
            self._rewrite(self._offsets)

    def _sort(self, order: Iterable[str]) -> None:
        wanted = [key for key in order if key in self._offsets]
        if wanted != list(self._offsets):
            self._rewrite(wanted)

    def _rewrite(self, keys: Iterable[str]) -> None:
        """Keep the lines of `keys` alone, in that order."""
        offsets = {key: self._offsets[key] for key in keys}
        end = 0
        with atomic_writer(self.path) as target:
            for key, line in zip(offsets, read_lines_at(self.path, list(offsets.values())), strict=True):
                target.write(line)
                offsets[key] = end
                end += len(line)
        self._offsets, self._end = offsets, end

    def _disk(self, error: OSError) -> InfrastructureError:
        return InfrastructureError(
            f"Could not write {self.path}: {error.strerror or error}; what is finished is kept."
        )


def require_same_run(
    path: Path, before: Mapping[str, Any], identity: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Compare a run with the one that the records in `path` are of.

    Args:
        path: their file, for the message.
        before: what is kept of their run.
        identity: of the run that is to go on.
        facts: what else is kept of it, which may differ.

    Raises:
        InputError: they are not the same run.
    """
    known = {name: value for name, value in before.items() if name not in facts}
    then, now = dict(_leaves(known)), dict(_leaves(identity))
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    # A hash tells a reader nothing where the setting behind it is there, too.
    names.sort(key=lambda name: name.endswith("_sha256"))
    if names:
        name = names[0]
        raise InputError(
            f"{path} cannot be resumed: {name} was {_show(then.get(name))} and is now "
            f"{_show(now.get(name))}; choose another output file or overwrite it."
        )


def tally_of(path: Path) -> SessionCounts:
    """Count the sessions in a results file, whole or partial; a torn last line does not count.

    Raises:
        InputError: the file cannot be read.
    """
    tally = SessionCounts()
    for line in read_lines(path):
        entry = None if line.is_torn else read_entry(line.data)
        if entry is not None:
            tally.add(*entry[1:])
    return tally


def finished_sessions(path: Path) -> set[str]:
    """Return the keys of the sessions in a results file, whole or partial, that are not run again.

    Raises:
        InputError: the file cannot be read.
    """
    entries = (None if line.is_torn else read_entry(line.data) for line in read_lines(path))
    return {entry[0] for entry in entries if entry is not None and entry[1] not in _TO_BE_RUN_AGAIN}


def _leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what an identity holds, nested objects by their dotted path."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def read_entry(line: bytes) -> tuple[str, str, bool | None] | None:
    """Return key, status and success of a line; None if it is no session or result."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    key = document.get("task_id") or document.get("conversation_id")
    result = document.get("conversation_result") or document
    if not isinstance(key, str) or not isinstance(result, dict):
        return None
    key = session_key(key, document.get("epoch", FIRST_EPOCH))
    return key, str(result.get("status")), result.get("overall_success")


def _show(value: object) -> str:
    return "not set" if value is None else orjson.dumps(value).decode()
