"""Atomic files: each is written beside its target, and moved over it once it is complete and on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from crm_assets.errors import InfrastructureError

__all__ = [
    "PARTIAL",
    "REPLACED",
    "UNFINISHED",
    "FileStamp",
    "atomic_writer",
    "json_line",
    "read_json",
    "remove_unfinished",
    "sha256_of_file",
    "stamp_of",
    "write_json",
    "write_jsonl",
    "write_text",
]

_CHUNK = 1 << 20
UNFINISHED = ".tmp"
"""Ending of atomic files that are being written."""
PARTIAL = ".partial"
"""Ending of files that lines are appended to until a run has all of them."""
REPLACED = ".replaced-"
"""Beginning of the name of a folder that was moved aside."""


class FileStamp(NamedTuple):
    """Size and time of a file; they change with its content."""

    bytes: int
    modified_ns: int


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing bytes; it appears, complete, when the block ends without an error.

    Raises:
        InfrastructureError: the disk is full or read-only, or access is denied; `path` is unchanged.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide an artifact from the team
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {path}: {error.strerror or error}; free some space or choose another "
            "folder, then run it again."
        ) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove from `folder` and below what a killed process left of atomic files; nobody may write there."""
    for leftover in folder.rglob(f".*{UNFINISHED}"):
        leftover.unlink(missing_ok=True)


def json_line(record: object) -> bytes:
    """Return one JSON Lines record, newline included; keys keep their order."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def write_jsonl(path: Path, records: Iterable[object]) -> int:
    """Write `records` to `path` atomically, one per line; return their number."""
    count = 0
    with atomic_writer(path) as handle:
        for record in records:
            handle.write(json_line(record))
            count += 1
    return count


def write_json(path: Path, document: object) -> None:
    """Write `document` to `path` atomically, indented."""
    with atomic_writer(path) as handle:
        handle.write(
            orjson.dumps(
                document,
                option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS,
            )
        )


def read_json(path: Path) -> Any:
    """Return the JSON document in `path`."""
    return orjson.loads(path.read_bytes())


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_writer(path) as handle:
        handle.write(text.encode())


def stamp_of(path: Path) -> FileStamp | None:
    """Return size and time of a local file; None if it is missing."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileStamp(stat.st_size, stat.st_mtime_ns)


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of the file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
