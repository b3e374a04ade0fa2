"""The files of a run's shards, while it is under way; merged, they are the run's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from crm_assets.errors import InfrastructureError
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.compressed_lines import lines_before_packing
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


Merge = Callable[[RunFiles, list[RunFiles]], None]
"""Writes to the files given first what the run and its shards have done."""


def absorb(whole: RunFiles, merge: Merge) -> bool:
    """Make what a run's shards have done the run's own; return False if it has no shards.

    A kill at any moment loses and doubles nothing: what is merged appears in a folder beside the shards, in
    one go; only then are they removed, and its files moved over the run's.

    Args:
        whole: the run's files.
        merge: merges them.

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
            rmtree(folder / _BUILDING, ignore_errors=True)
            (folder / _BUILDING).mkdir()
            every: list[RunFiles] = [whole, *shards_of(whole)]
            with _locked(every):
                merge(RunFiles(folder / _BUILDING), every)
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


@contextmanager
def _locked(every: list[RunFiles]) -> Iterator[None]:
    """Keep others from writing results and ledgers."""
    with ExitStack() as locks:
        for each in every:
            if each.partial.is_file():
                locks.enter_context(open_locked(sidecar_of(each.partial), guards=each.partial))
            if each.ledger.is_file():
                locks.enter_context(open_locked(each.ledger))
        yield


def _folder(whole: RunFiles) -> Path:
    return whole.folder / "shards"
