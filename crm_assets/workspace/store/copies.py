"""The artifacts of a project whose place is a store, as local files.

Everyone works on local files, in the same folders as without a store. Who asks for the path of a file gets
the store's newest version of it there, downloaded once. Who works on a run, under its lease, has what it
wrote uploaded (`store.uploads`).

`.stored.json` beside the files of a run says which version of each file is the store's. From that follows:

| local file | its record | in the store | it is |
| --- | --- | --- | --- |
| missing | none | there | to be downloaded |
| as recorded | there | another version | replaced by the store's |
| as recorded | there | gone, while the run is there | removed by the run's holder elsewhere |
| missing | there | there | removed here by the run's holder, and soon there |
| another, or not recorded | any | any | written here, and soon uploaded |
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from crm_assets.workspace.files import PARTIAL, REPLACED, FileStamp, stamp_of
from crm_assets.workspace.store.objects import ObjectStore, StoredFile
from crm_assets.workspace.store.units import (
    INDEX,
    RESERVED,
    Record,
    Units,
    is_as,
    space,
)

__all__ = ["LocalCopies"]

_AT_A_TIME = 16
_LARGE_BYTES = 1 << 20
_IN_USE_SECONDS = 3600


class LocalCopies(Units):
    """The local files of one store."""

    def __init__(self, root: Path, store: ObjectStore, *, cache_bytes: float) -> None:
        """Take a store's files to be in `root`.

        Args:
            root: their folder.
            store: where they come from.
            cache_bytes: what copies of finished baselines' large files may take; those that were not used
                for longest go first.
        """
        super().__init__(root, store)
        self._cache_bytes = cache_bytes

    def runs(self, dataset: str) -> list[str]:
        """Return the run keys of a dataset that the store knows."""
        prefix = f"baselines/{dataset}"
        units = (unit.removeprefix(f"{prefix}/") for unit in self._listing(prefix) if unit != prefix)
        return sorted(units)

    def datasets(self) -> list[str]:
        """Return the datasets that have runs in the store."""
        return self.store.folders("baselines")

    def knows(self, folder: Path) -> bool:
        """Tell whether the store has anything of a run."""
        return bool(self._stored(self._unit(folder)))

    def names(self, folder: Path) -> list[str]:
        """Return the files in a unit that are in the store."""
        return sorted(self._stored(self._unit(folder)))

    def stamp(self, path: Path) -> FileStamp | None:
        """Return size and time of a file, wherever it is; None if it is nowhere. Nothing is downloaded."""
        unit, name = self._place(path)
        stored = self._stored(unit).get(name)
        local = stamp_of(path)
        verdict = self._verdict(unit, name, local, stored)
        if verdict == "download":
            assert stored is not None
            return FileStamp(stored.bytes, stored.modified_ns)
        return None if verdict == "drop" else local

    def is_only_here(self, path: Path) -> bool:
        """Tell whether a file is here, and the store does not have it as it is."""
        unit, name = self._place(path)
        record, local = self._records(unit).get(name), stamp_of(path)
        return local is not None and not is_as(record, local, settled=True)

    def bring(self, *paths: Path) -> None:
        """Make files what they are in the store, as far as they are there and nobody has written them here.

        Facts that readers look for beside a file of a run come with it.
        """
        wanted: dict[Path, None] = dict.fromkeys(paths)
        for path in paths:
            unit, name = self._place(path)
            folder = name.rpartition("/")[0]
            if folder and (unit, folder) not in self._beside:
                self._beside.add((unit, folder))
                wanted |= {
                    unit / each: None
                    for each, stored in self._stored(unit).items()
                    if each.rpartition("/")[0] == folder
                    and (each.endswith(".json") or PARTIAL in each)
                    and stored.bytes <= _LARGE_BYTES
                }
        self._bring(wanted)

    def bring_all(self, folder: Path, *, replaced: bool = False) -> None:
        """Bring all files of a unit; those that were replaced only where they are asked for."""
        unit = self._unit(folder)
        names = (name for name in self._stored(unit) if replaced or not name.startswith(REPLACED))
        known = (name for name in self._records(unit) if replaced or not name.startswith(REPLACED))
        self._bring({unit / name: None for name in (*names, *known) if name != RESERVED})

    def _bring(self, paths: Iterable[Path]) -> None:
        with self._lock:
            jobs = [(path, job) for path in paths if (job := self._job(path)) is not None]
        if len(jobs) == 1:
            jobs[0][1]()
        elif jobs:
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                for done in [pool.submit(job) for _, job in jobs]:
                    done.result()

    def _job(self, path: Path) -> Callable[[], None] | None:
        """Return what makes a file the store's version; None if there is nothing to do."""
        unit, name = self._place(path)
        local, stored = stamp_of(path), self._stored(unit).get(name)
        verdict = self._verdict(unit, name, local, stored)
        if verdict == "download":
            assert stored is not None
            found = stored
            return lambda: self._download(unit, name, found)
        if verdict == "drop":
            return lambda: self._drop(unit, name)
        if local is not None and local.bytes >= _LARGE_BYTES:
            with suppress(OSError):  # another's file, or one that has gone since
                os.utime(path, ns=(time.time_ns(), local.modified_ns))
        return None

    def _verdict(self, unit: Path, name: str, local: FileStamp | None, stored: StoredFile | None) -> str:
        """Return what is to be done with a file: `download`, `drop` or `keep` it (see the table above)."""
        working = unit in self._working
        if local is not None and working:
            return "keep"
        records = self._records(unit)
        record = records.get(name)
        if stored is None:
            gone = record is not None and record.etag is not None and is_as(record, local)
            return "drop" if gone and not working and self._stored(unit) else "keep"
        if local is None:
            removed_here = record is not None and not self._is_finished(unit, records)
            return "keep" if removed_here or (record is not None and working) else "download"
        is_copy = record is not None and is_as(record, local)
        return "download" if record is not None and is_copy and record.etag != stored.etag else "keep"

    def _download(self, unit: Path, name: str, stored: StoredFile) -> None:
        target = unit / name
        with space(target) as temporary:
            try:
                self.store.get(unit.relative_to(self.root).joinpath(name).as_posix(), temporary)
            except FileNotFoundError:  # removed since it was listed
                return
            os.chmod(temporary, 0o644)
            size = temporary.stat().st_size
            os.utime(temporary, ns=(time.time_ns(), stored.modified_ns))
            with self._index(unit) as records:
                os.replace(temporary, target)
                # Written again since it was listed: it comes again with the next listing.
                etag = stored.etag if size == stored.bytes else ""
                records[name] = Record(etag=etag, bytes=size, modified_ns=stored.modified_ns)
        if size >= _LARGE_BYTES:
            self._make_room(target)

    def _drop(self, unit: Path, name: str) -> None:
        with self._index(unit) as records:
            record = records.get(name)
            if record is not None and is_as(record, stamp_of(unit / name)):
                (unit / name).unlink(missing_ok=True)
                del records[name]

    def _make_room(self, newest: Path) -> None:
        """Remove copies of finished baselines' large files that were not used for longest."""
        copies: list[tuple[float, int, Path, str]] = []
        for index in self.root.glob(f"**/{INDEX}"):
            unit = index.parent
            records = self._records(unit)
            if unit in self._working or not self._is_finished(unit, records):
                continue
            for name, record in records.items():
                if record.bytes >= _LARGE_BYTES and is_as(record, stamp_of(unit / name)):
                    copies.append(((unit / name).stat().st_atime, record.bytes, unit, name))
        total = sum(size for _, size, _, _ in copies)
        for used, size, unit, name in sorted(copies):
            if total <= self._cache_bytes or time.time() - used < _IN_USE_SECONDS:
                return
            if unit / name != newest:
                self._drop(unit, name)
                total -= size
