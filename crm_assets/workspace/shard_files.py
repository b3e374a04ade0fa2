"""The files of a run's shards, while it is under way; merged, they are the run's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj, rmtree
from typing import IO

from crm_assets.errors import InfrastructureError
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.compressed_lines import lines_before_packing, pack_lines
from crm_assets.workspace.jsonl import open_locked

__all__ = ["ShardFiles", "absorb", "shards_of"]

_MERGED = "merged"
_BUILDING = ".merging"


@dataclass(frozen=True)
class ShardFiles(RunFiles):
    """The files of one shard: results, ledger and requests of its own, the rest is the run's."""

    whole: RunFiles

    @classmethod
    def of(cls, whole: RunFiles, name: str) -> ShardFiles:
        """Return the files of the shard `name` of a run."""
        return cls(_folder(whole) / name, whole)

    @property
    def tasks(self) -> Path:
        """Return the file of the run's tasks."""
        return self.whole.tasks

    @property
    def playbook(self) -> Path:
        """Return the file of the run's playbook."""
        return self.whole.playbook


def shards_of(whole: RunFiles) -> list[ShardFiles]:
    """Return the files of the shards that have not been merged, by name."""
    folder = _folder(whole)
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
    return [ShardFiles.of(whole, name) for name in sorted(names) if name not in (_MERGED, _BUILDING)]


WriteResults = Callable[[RunFiles, list[RunFiles]], None]
"""Writes the merged results of some files, and what is kept of their run, to the files given first."""


def absorb(whole: RunFiles, write_results: WriteResults) -> bool:
    """Make what a run's shards have done the run's own; return False if it has no shards.

    A kill at any moment loses and doubles nothing: what is merged appears in a folder beside the shards, in
    one go; only then are they removed, and its files moved over the run's.

    Args:
        whole: the run's files.
        write_results: merges the results of the run and of its shards.

    Raises:
        InputError: somebody still writes one of the files.
        InfrastructureError: the disk refused; nothing is lost.
    """
    folder = _folder(whole)
    if not folder.is_dir():
        return False
    merged = folder / _MERGED
    try:
        if not merged.is_dir():
            _merge(whole, shards_of(whole), folder / _BUILDING, write_results)
            (folder / _BUILDING).rename(merged)
        for shard in shards_of(whole):
            rmtree(shard.folder)
        for file in merged.iterdir():
            os.replace(file, whole.folder / file.name)
        lines_before_packing(whole.requests).unlink(missing_ok=True)  # its lines are merged, too
        rmtree(folder)
    except OSError as error:
        raise InfrastructureError(
            f"Could not merge the shards in {folder}: {error.strerror or error}; nothing is lost: free "
            "some space or correct the permissions, then run it again."
        ) from error
    return True


def _merge(whole: RunFiles, shards: list[ShardFiles], building: Path, write_results: WriteResults) -> None:
    """Write the merged files to the folder `building`."""
    rmtree(building, ignore_errors=True)
    building.mkdir()
    every: list[RunFiles] = [whole, *shards]
    with ExitStack() as locks:
        for each in every:
            if each.partial.is_file():
                locks.enter_context(open_locked(sidecar_of(each.partial), guards=each.partial))
            if each.ledger.is_file():
                locks.enter_context(open_locked(each.ledger))
        write_results(RunFiles(building), [each for each in every if each.partial.is_file()])
        ledgers = [each.ledger for each in every if each.ledger.is_file()]
        if ledgers:
            with (building / whole.ledger.name).open("wb") as target:
                for ledger in ledgers:
                    _append(target, ledger)
                target.flush()
                os.fsync(target.fileno())
        _merge_requests(RunFiles(building), every)


def _merge_requests(target: RunFiles, sources: list[RunFiles]) -> None:
    """Put what models were asked into one file: compressed files one after the other are one."""
    packed = [source.requests for source in sources if source.requests.is_file()]
    if packed:
        with target.requests.open("wb") as handle:
            for path in packed:
                with path.open("rb") as source:
                    copyfileobj(source, handle)
    whole = lines_before_packing(target.requests)
    for path in (lines_before_packing(source.requests) for source in sources):
        if path.is_file():  # of a process that was killed
            with whole.open("wb") as handle:
                _append(handle, path)
            pack_lines(whole, target.requests)
            whole.unlink()


def _append(target: IO[bytes], source: Path) -> None:
    """Append the lines of a file, but for one that a crash tore off."""
    with source.open("rb") as handle:
        copyfileobj(handle, target)
    torn = _torn_bytes(source)
    if torn:
        target.seek(-torn, os.SEEK_END)
        target.truncate()


def _torn_bytes(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as handle:
        end = size
        while end:
            begin = max(0, end - 65536)
            handle.seek(begin)
            found = handle.read(end - begin).rfind(b"\n")
            if found >= 0:
                return size - (begin + found + 1)
            end = begin
    return size


def _folder(whole: RunFiles) -> Path:
    return whole.folder / "shards"
