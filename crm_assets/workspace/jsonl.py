"""JSON Lines files: read as a stream or by offset, append under a lock, recover from a torn line."""

from __future__ import annotations

import codecs
import fcntl
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from crm_assets.errors import InfrastructureError, InputError

__all__ = [
    "Line",
    "append_line",
    "open_locked",
    "read_line_at",
    "read_lines",
    "read_lines_at",
    "refuse_multiline",
    "write_lines",
]

_BUFFER = 1 << 18  # bytes: lines are kilobytes, and files of them gigabytes
_SKIP = 1 << 20
_CUT_OFF = "unexpected end of data"  # orjson's words


class Line(NamedTuple):
    """One line of a file."""

    number: int
    """From 1."""
    offset: int
    """Bytes before it."""
    data: bytes
    """Its content, newline included."""

    @property
    def is_torn(self) -> bool:
        """Tell whether a crash cut it off: every line that was written whole ends with a newline."""
        return not self.data.endswith(b"\n")


def read_lines(
    path: Path, *, limit: int | None = None, on_bytes: Callable[[bytes], object] | None = None
) -> Iterator[Line]:
    """Read a file line by line, in constant memory; a byte order mark (UTF-8) at its beginning is left out.

    Args:
        path: the file.
        limit: longest line in bytes; a longer one is cut after one byte more, and its rest is skipped.
        on_bytes: called with all bytes of the file, in order.

    Raises:
        InputError: the file is missing, cannot be read, or is UTF-16.
    """
    longest = -1 if limit is None else limit + 1
    try:
        with path.open("rb", buffering=_BUFFER) as handle:
            offset = 0
            for number, data in enumerate(iter(partial(handle.readline, longest), b""), 1):
                if on_bytes is not None:
                    on_bytes(data)
                size = len(data)
                if size == longest and not data.endswith(b"\n"):
                    size += _skip_rest(handle, on_bytes)
                line = _without_mark(path, data) if number == 1 else data
                yield Line(number, offset + len(data) - len(line), line)
                offset += size
    except OSError as error:
        raise _unreadable(path, error) from error


def _skip_rest(handle: IO[bytes], on_bytes: Callable[[bytes], object] | None) -> int:
    size = 0
    for data in iter(partial(handle.readline, _SKIP), b""):
        size += len(data)
        if on_bytes is not None:
            on_bytes(data)
        if data.endswith(b"\n"):
            break
    return size


def _without_mark(path: Path, first: bytes) -> bytes:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path} is UTF-16; save it as UTF-8.")
    return first.removeprefix(codecs.BOM_UTF8)


def refuse_multiline(path: Path) -> None:
    """Raise if a file whose first line could not be read is JSON, but not one value per line.

    Raises:
        InputError: its first line is the beginning of a value that goes on in the second.
    """
    lines = (line.data for line in read_lines(path) if line.data.strip())
    first, second = next(lines, b""), next(lines, b"")
    # A first line that a crash cut off has a whole one after it.
    if _is_cut_off(first) and second and (first.strip() in (b"{", b"[") or not _is_json(second)):
        raise InputError(
            f"{path} is one JSON document, not one a line; write each object on a line of its own "
            "(`jq -c .` does, and `jq -c '.[]'` for a list)."
        )


def _is_cut_off(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return error.msg.startswith(_CUT_OFF)
    return False


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def read_lines_at(path: Path, offsets: Iterable[int]) -> Iterator[bytes]:
    """Read the lines that begin at `offsets`, in that order.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as handle:
            for offset in offsets:
                handle.seek(offset)
                yield handle.readline()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_line_at(path: Path, offset: int) -> bytes:
    """Read the line that begins at `offset`.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    return next(read_lines_at(path, (offset,)))


def open_locked(path: Path, *, wait: bool = False, guards: Path | None = None) -> FileIO:
    """Open `path` for reading and appending, unbuffered and locked until it is closed.

    The file and its folder are created if they are missing.

    Args:
        path: the file.
        wait: wait for another process that holds the lock; otherwise refuse.
        guards: the file that the lock is for, if it is not `path` itself.

    Raises:
        InputError: another process holds the lock.
        OSError: the disk refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+b", buffering=0)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise InputError(
            f"{guards or path} is being written by another process; wait for it, or choose another "
            "output file."
        ) from None
    except BaseException:
        handle.close()
        raise
    return handle


def write_lines(handle: FileIO, lines: Sequence[bytes]) -> None:
    """Append lines in one go; if the disk refuses, keep those that were written whole.

    Raises:
        OSError: the disk refused.
    """
    before = handle.seek(0, os.SEEK_END)
    rest = memoryview(b"".join(lines))
    try:
        while rest:
            rest = rest[handle.write(rest) :]  # a full disk may take a part before it refuses
    except OSError:
        with suppress(OSError):
            written = handle.seek(0, os.SEEK_END) - before
            ends = itertools.accumulate(map(len, lines))
            whole = itertools.takewhile(lambda end: end <= written, ends)
            handle.truncate(before + max(whole, default=0))
        raise


def append_line(path: Path, line: bytes) -> None:
    """Append one line, waiting for other processes that append to the same file.

    Raises:
        InfrastructureError: the disk refused.
    """
    try:
        with open_locked(path, wait=True) as handle:
            write_lines(handle, [line])
    except OSError as error:
        raise InfrastructureError(f"Could not write {path}: {error.strerror or error}.") from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"Cannot read {path}: {error.strerror or error}.")
