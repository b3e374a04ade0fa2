"""Compressed JSON Lines (gzip): packed from a file that was appended to, read line by line.

`zcat` reads it, and files that are put one after the other are one file.
"""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from crm_assets.errors import InputError
from crm_assets.workspace.files import PARTIAL, atomic_writer
from crm_assets.workspace.jsonl import read_lines

__all__ = ["join_packed", "lines_before_packing", "pack_lines", "read_compressed_lines"]

_LEVEL: Final = 6
_CHUNK: Final = 1 << 20


def lines_before_packing(target: Path) -> Path:
    """Return the file whose lines are appended to until they are packed into `target`."""
    return target.with_name(target.name.removesuffix(".gz") + PARTIAL)


def pack_lines(lines: Path, target: Path) -> None:
    """Append the lines of one file to a compressed one, which has them all or is as before.

    Args:
        lines: the file; it stays.
        target: the compressed file; created if it is missing.

    Raises:
        InfrastructureError: the disk refused.
    """
    with atomic_writer(target) as packed:
        if target.exists():
            with target.open("rb") as before:
                shutil.copyfileobj(before, packed, _CHUNK)
        # Without name and time: of equal lines, equal bytes.
        member = gzip.GzipFile("", "wb", _LEVEL, packed, mtime=0)
        with lines.open("rb") as source, member:
            shutil.copyfileobj(source, member, _CHUNK)


def join_packed(target: Path, sources: Sequence[Path]) -> None:
    """Write the lines of several files to one, also those that were not packed yet.

    Args:
        target: the compressed file; nothing is written if there are no lines.
        sources: compressed files, which may be missing.

    Raises:
        InfrastructureError: the disk refused.
    """
    packed = [source for source in sources if source.is_file()]
    if packed:
        with atomic_writer(target) as handle:
            for path in packed:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, handle, _CHUNK)
    whole = lines_before_packing(target)
    for path in map(lines_before_packing, sources):
        if path.is_file():  # of a process that was killed, in the middle of a line perhaps
            with whole.open("wb") as lines:
                lines.writelines(line.data for line in read_lines(path) if not line.is_torn)
            pack_lines(whole, target)
            whole.unlink()


def read_compressed_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number, from 1, and content of each line.

    Raises:
        InputError: the file is missing, cut off, or damaged.
    """
    try:
        with gzip.open(path) as lines:
            yield from enumerate(lines, 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is cut off or damaged; restore it from a copy.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
