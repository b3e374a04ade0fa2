"""The files of a store in units, and which versions of them are here.

A unit is a folder whose files have one index: that of a run or a study (`baselines/<dataset>/<run>`), that
of the files that a dataset has beside its runs, or the whole folder for the files in none of these.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InfrastructureError
from crm_assets.workspace.files import PARTIAL, UNFINISHED, FileStamp, atomic_writer, stamp_of
from crm_assets.workspace.keys import is_run_key
from crm_assets.workspace.store.objects import ObjectStore, StoredFile

__all__ = [
    "INDEX",
    "MANIFEST",
    "RESERVED",
    "Index",
    "Record",
    "Units",
    "is_as",
    "space",
]

INDEX = ".stored.json"
RESERVED = ".planned"
MANIFEST = "atlas/manifest.json"
_PARTIAL_SESSIONS = f"atlas/sessions.jsonl{PARTIAL}"
_FRESH_SECONDS = 5.0


class Record(BaseModel):
    """The version of a file that is in the store, and how it is told from what is written here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    etag: str | None
    """None for a file that has not been in the store yet."""
    bytes: int = -1
    modified_ns: int = -1
    uploading: bool = False
    """An upload was begun, and may have arrived."""


Index = MutableMapping[str, Record]


class _Records(BaseModel):
    model_config = ConfigDict(extra="ignore")

    files: dict[str, Record] = {}


class Units:
    """The units of one store."""

    def __init__(self, root: Path, store: ObjectStore) -> None:
        self.root = root
        self.store = store
        self._lock = threading.RLock()
        self._listed: dict[str, tuple[float, dict[str, dict[str, StoredFile]]]] = {}
        self._known: dict[Path, tuple[tuple[int, int], Index]] = {}
        self._beside: set[tuple[Path, str]] = set()
        self._working: dict[Path, Mapping[str, StoredFile]] = {}

    def url_of(self, path: Path) -> str:
        """Return the URL of a file."""
        return self.store.url_of(path.relative_to(self.root).as_posix())

    def forget(self) -> None:
        """Ask the store again what it holds."""
        self._listed.clear()
        self._beside.clear()

    def _unit(self, folder: Path) -> Path:
        parts = folder.relative_to(self.root).parts
        if len(parts) >= 3 and is_run_key(parts[2]):  # noqa: PLR2004  (baselines, dataset, run)
            return self.root.joinpath(*parts[:3])
        return self.root.joinpath(*parts[:2])

    def _place(self, path: Path) -> tuple[Path, str]:
        unit = self._unit(path.parent)
        return unit, path.relative_to(unit).as_posix()

    def _name(self, unit: Path, name: str) -> str:
        return unit.relative_to(self.root).joinpath(name).as_posix()

    def _is_finished(self, unit: Path, records: Mapping[str, Record]) -> bool:
        """Tell whether a run's files are those of a finished baseline: then none was removed on purpose."""
        manifest = records.get(MANIFEST)
        whole = manifest is not None and is_as(manifest, stamp_of(unit / MANIFEST))
        return whole and not (unit / _PARTIAL_SESSIONS).exists()

    def _stored(self, unit: Path) -> Mapping[str, StoredFile]:
        """Return {name in the unit: object}: a few seconds old, or as when the work on it began."""
        if unit in self._working:
            return self._working[unit]
        parts = unit.relative_to(self.root).parts
        return self._listing("/".join(parts[:2])).get("/".join(parts), {})

    def _found(self, unit: Path) -> dict[str, StoredFile]:
        """Return {name in the unit: object}, asked for now."""
        found = self.store.find("/".join(unit.relative_to(self.root).parts))
        return {self._place(self.root / name)[1]: stored for name, stored in found.items()}

    def _listing(self, prefix: str) -> dict[str, dict[str, StoredFile]]:
        with self._lock:
            listed_at, units = self._listed.get(prefix, (0.0, {}))
            if time.monotonic() - listed_at >= _FRESH_SECONDS or not listed_at:
                units = {}
                self._beside.clear()
                for name, stored in self.store.find(prefix).items():
                    unit, within = self._place(self.root / name)
                    units.setdefault("/".join(unit.relative_to(self.root).parts), {})[within] = stored
                self._listed[prefix] = (time.monotonic(), units)
            return units

    def _records(self, unit: Path) -> Index:
        """Return what is known of the files here; without an index all count as written here."""
        path = unit / INDEX
        try:
            stat = path.stat()
            version = (stat.st_ino, stat.st_mtime_ns)
            if (known := self._known.get(unit)) is None or known[0] != version:
                records = _Records.model_validate(orjson.loads(path.read_bytes())).files
                known = self._known[unit] = (version, records)
        except (FileNotFoundError, NotADirectoryError, ValidationError, orjson.JSONDecodeError):
            return {}
        return known[1]

    @contextmanager
    def _index(self, unit: Path) -> Iterator[Index]:
        """Yield the records of a unit, to be changed; no other process changes them meanwhile."""
        unit.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(unit, os.O_RDONLY)
        try:
            with self._lock:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                before = self._records(unit)
                records = dict(before)
                try:
                    yield records
                finally:
                    if records != before:
                        with atomic_writer(unit / INDEX) as handle:
                            handle.write(orjson.dumps(_Records(files=dict(records)).model_dump()))
        finally:
            os.close(descriptor)


def is_as(record: Record | None, local: FileStamp | None, *, settled: bool = False) -> bool:
    """Tell whether a file is the version that its record tells of; `settled`: and has surely arrived."""
    if record is None or local is None or (settled and record.uploading):
        return False
    return (record.bytes, record.modified_ns) == local


@contextmanager
def space(target: Path) -> Iterator[Path]:
    """Yield a file to write beside `target`, which is removed if it is not moved there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(UNFINISHED, f".{target.name}.", target.parent)
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {target}: {error.strerror or error}; free some space or correct its rights."
        ) from error
    os.close(descriptor)
    try:
        yield Path(temporary)
    finally:
        Path(temporary).unlink(missing_ok=True)
