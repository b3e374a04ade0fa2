"""Compressed JSON Lines (gzip): appended line by line, each whole on the disk before the next one.

A file has a member for each time that it was opened. Every append ends with a flush to a byte's end, so a
crash loses at most what was just being written; the next one to open the file closes the torn member there.
`zcat` reads it, and files that are put one after the other are one file.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from crm_assets.errors import InputError
from crm_assets.workspace.jsonl import open_locked, write_lines

__all__ = ["CompressedLines", "read_compressed_lines"]

_LEVEL: Final = 6  # of short lines 1 takes half the time, and makes them a quarter longer
_HEADER: Final = (
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # gzip, no name, no time: equal lines, equal bytes
)
_FLUSHED: Final = b"\x00\x00\xff\xff"
_LAST_BLOCK: Final = b"\x03\x00"  # an empty one
_CHUNK: Final = 1 << 20


class CompressedLines:
    """Appends lines to a compressed file that nobody else writes."""

    def __init__(self, path: Path) -> None:
        """Open the file; what a crash left unfinished at its end is cut off.

        Raises:
            InputError: another process writes it, or it is damaged.
            OSError: the disk refused.
        """
        self._handle = open_locked(path)
        self._deflate: zlib._Compress | None = None
        self._crc = self._size = 0
        try:
            _close_torn_member(path)
        except BaseException:
            self._handle.close()
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines, newlines included; all of them, or none.

        Raises:
            OSError: the disk refused.
            ValueError: the file is closed.
        """
        text, header = b"".join(lines), b""
        if self._deflate is None:
            self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._crc = self._size = 0
            header = _HEADER
        data = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            write_lines(self._handle, [header + data])
        except OSError:
            self._end_member(begun=not header)  # what comes next cannot build on what was not written
            raise
        self._crc, self._size = zlib.crc32(text, self._crc), self._size + len(text)

    def close(self) -> None:
        """End the file; nothing can be appended any more.

        Raises:
            OSError: the disk refused; what was appended is there.
        """
        if not self._handle.closed:
            try:
                self._end_member(begun=True)
            finally:
                self._handle.close()

    def _end_member(self, *, begun: bool) -> None:
        if self._deflate is not None:
            self._deflate = None
            if begun:
                write_lines(self._handle, [_end(self._crc, self._size)])


def read_compressed_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number, from 1, and content of each line of a finished file.

    Raises:
        InputError: it is missing, cut off, or damaged.
    """
    try:
        with gzip.open(path) as lines:
            yield from enumerate(lines, 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path) from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error


def _end(crc: int, size: int) -> bytes:
    """Return the end of a member: an empty block, checksum and size."""
    return _LAST_BLOCK + struct.pack("<II", crc, size & 0xFFFFFFFF)


def _close_torn_member(path: Path) -> None:
    """End the last member at its last whole line, if a crash left it open.

    Raises:
        InputError: the file is damaged before its end.
    """
    with path.open("rb") as file:
        data = file.read()
    start = _open_member(path, data)
    if start is None:
        return
    kept, closing = start, b""
    end = len(data)
    while (found := data.rfind(_FLUSHED, start, end)) >= 0:
        if (sums := _whole(data[start + len(_HEADER) : found + len(_FLUSHED)])) is not None:
            kept, closing = found + len(_FLUSHED), _end(*sums)
            break
        end = found + len(_FLUSHED) - 1  # chance made the same four bytes within a block
    with path.open("r+b") as file:
        file.truncate(kept)
        file.seek(kept)
        file.write(closing)


def _open_member(path: Path, data: bytes) -> int | None:
    """Return where the member begins that was not ended; None if all were."""
    start = 0
    while start < len(data):
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        place = start
        try:
            while not member.eof and place < len(data):
                member.decompress(data[place : place + _CHUNK])
                place += _CHUNK
        except zlib.error as error:
            raise _damaged(path) from error
        if not member.eof:
            return start
        start = min(place, len(data)) - len(member.unused_data)
    return None


def _whole(blocks: bytes) -> tuple[int, int] | None:
    """Return checksum and size of what `blocks` hold; None if they do not end where a line does."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    crc = size = 0
    last = b""
    for place in range(0, len(blocks), _CHUNK):
        text = inflate.decompress(blocks[place : place + _CHUNK])
        crc, size, last = zlib.crc32(text, crc), size + len(text), text or last
    try:
        text = inflate.decompress(_LAST_BLOCK)
    except zlib.error:
        return None
    whole = inflate.eof and not inflate.unused_data and not text and last.endswith(b"\n")
    return (crc, size) if whole else None


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is cut off or damaged; restore it from a copy.")
