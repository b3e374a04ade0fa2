"""Counts what a process writes, and kills or halts it, or fills its disk, at one of these.

An event is a change of a file or folder of the project (open for writing, write, truncate, fsync, rename,
remove, make or remove a folder) or a statement that changes a database. It is told before it happens; a
kill in a write lets half of the bytes through first. Reads do not count. All of it is put around Python,
psycopg and SQLAlchemy from outside: the product knows nothing of it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DISK_FULL", "HALT", "KILL", "Hook", "halted_marker", "install", "read_events"]

KILL, DISK_FULL, HALT = "kill", "disk full", "halt"

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READS = re.compile(
    r"\s*(SELECT|SHOW|SET|RESET|ROLLBACK|SAVEPOINT|RELEASE|BEGIN|START|EXPLAIN|FETCH|LISTEN|NOTIFY)\b", re.I
)
_LOCKS = re.compile(r"\bpg_\w*advisory\w*|set_config|pg_notify", re.I)
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")


@dataclass(frozen=True)
class Hook:
    """What is done to a process."""

    report: Path
    """File that gets a line for each event; outside of the project."""
    root: Path
    """The project: other files do not count."""
    action: str | None = None
    """`KILL`, `DISK_FULL`, `HALT`, or None, which counts only."""
    at: int = 0
    """Number of the event, from 1."""


def read_events(report: Path) -> list[str]:
    """Return the events that a process reported, in their order."""
    return report.read_text().splitlines() if report.exists() else []


def halted_marker(report: Path) -> Path:
    """Return the file that is there while the process is halted; it goes on when that is removed."""
    return report.with_suffix(".halted")


def install(hook: Hook) -> None:
    """Begin to count in this process."""
    counter = _Counter(hook)
    _count_files(counter)
    _count_statements(counter)


class _Counter:
    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._root = f"{hook.root}{os.sep}"
        self._pid = os.getpid()
        self._count = 0
        self._lock = threading.Lock()
        self._halted = False
        self._report = os.open(hook.report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def concerns(self, path: object) -> bool:
        """Tell if `path` is a file of the project."""
        try:
            text = os.fsdecode(path)  # type: ignore[arg-type]
        except TypeError:
            return False  # a descriptor: it was counted when it was opened
        return os.path.abspath(text).startswith(self._root)

    def event(self, what: str, halfway: Callable[[], object] | None = None, *, disk: bool = True) -> None:
        """Count an event, and let happen what is to happen at it."""
        if os.getpid() != self._pid:
            return
        with self._lock:  # two threads may write at once
            self._count += 1
            number = self._count
            os.write(self._report, f"{what}\n".encode())
        hook = self._hook
        if hook.action == KILL and number == hook.at:
            if halfway is not None:
                halfway()
            os.kill(os.getpid(), signal.SIGKILL)
        if hook.action == HALT and number >= hook.at and not self._halted:
            self._halt()
        if hook.action == DISK_FULL and number >= hook.at and disk:
            if halfway is not None and number == hook.at:
                halfway()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _halt(self) -> None:
        """Wait here until the marker is gone; the lease's heart goes on, as in a process that is slow."""
        if threading.current_thread().name == "crm-assets-lease":
            return
        self._halted = True
        marker = halted_marker(self._hook.report)
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o644))
        while marker.exists():
            time.sleep(0.02)


def _count_files(counter: _Counter) -> None:
    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITES and counter.concerns(path):
                counter.event(f"open {_name(path)}")
        elif event in _CHANGES and counter.concerns(arguments[0]) and _changes(event, arguments[0]):
            takes = event not in ("os.remove", "os.rmdir", "os.truncate")  # room on the disk
            counter.event(f"{event.removeprefix('os.')} {_name(arguments[0])}", disk=takes)

    sys.addaudithook(audit)

    class CountedFile(io.FileIO):
        def write(self, data: Any, /) -> int:
            if self._counts():
                view = memoryview(data).cast("B")
                half = view[: len(view) // 2]
                counter.event(f"write {_name(self.name)}", lambda: os.write(self.fileno(), half))
            return super().write(data)

        def truncate(self, size: int | None = None, /) -> int:
            if self._counts():
                counter.event(f"truncate {_name(self.name)}", disk=False)
            return super().truncate(size)

        def _counts(self) -> bool:
            return isinstance(self.name, int) or counter.concerns(self.name)

    opened = io.open

    def counted_open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+") or "b" not in mode:
            return opened(file, mode, buffering, *rest, **named)
        closefd, opener = named.get("closefd", True), named.get("opener")
        raw = CountedFile(file, mode.replace("b", ""), closefd, opener)
        if buffering == 0:
            return raw
        wrapper = io.BufferedRandom if "+" in mode else io.BufferedWriter
        return wrapper(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)

    io.open = builtins.open = counted_open
    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        counter.event("fsync")
        fsync(descriptor)

    os.fsync = counted_fsync  # type: ignore[assignment]


def _changes(event: str, path: Any) -> bool:
    """Return False for what changes nothing: a folder made again, a missing file removed."""
    return os.path.lexists(path) != (event == "os.mkdir")


def _name(path: object) -> str:
    """Return the name of a file, without the random part of temporary ones."""
    if isinstance(path, int):
        return "of a descriptor"
    name = os.path.basename(os.fsdecode(path).rstrip(os.sep))  # type: ignore[arg-type]
    return re.sub(r"^\.(.+)\.[a-z0-9_]{8}\.tmp$", r"\1 (temporary)", name)


def _count_statements(counter: _Counter) -> None:
    from psycopg._connection_base import BaseConnection
    from psycopg._cursor_base import BaseCursor
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def tell(statement: object, connection: Any) -> None:
        text = statement if isinstance(statement, str) else _text(statement, connection)
        if not _READS.match(text) and not _LOCKS.search(text):
            words = " ".join(text.split())
            counter.event("statement " + re.sub(r"[^A-Za-z_ ].*", "", words)[:50].strip(), disk=False)

    def around(method: Any, connection_of: Callable[[Any], Any]) -> Any:
        def counted(self: Any, statement: object, *rest: Any, **named: Any) -> Generator[Any, Any, Any]:
            tell(statement, connection_of(self))
            return (yield from method(self, statement, *rest, **named))

        return counted

    names = ("_execute_gen", "_executemany_gen_no_pipeline", "_executemany_gen_pipeline", "_start_copy_gen")
    for name in names:
        setattr(BaseCursor, name, around(getattr(BaseCursor, name), lambda cursor: cursor._conn))
    BaseConnection._exec_command = around(BaseConnection._exec_command, lambda connection: connection)  # type: ignore[method-assign]

    @event.listens_for(Engine, "before_cursor_execute")
    def _(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        tell(statement, None)

    @event.listens_for(Engine, "commit")
    def _(connection: Any) -> None:
        tell("COMMIT", None)


def _text(statement: object, connection: Any) -> str:
    if isinstance(statement, bytes):
        return statement.decode(errors="replace")
    as_string = getattr(statement, "as_string", None)
    return as_string(connection) if as_string else str(statement)
