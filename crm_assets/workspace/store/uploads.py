"""What is written here is uploaded: at the end of each stage, and every few minutes.

Partial sessions go first, so that the ledger beside them knows at least as much; the manifest goes last, so
that a finished baseline is whole. Two who write the same file refuse each other: each upload names the
version that it replaces.
"""

from __future__ import annotations

import filecmp
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.workspace.files import PARTIAL, UNFINISHED, stamp_of
from crm_assets.workspace.keys import is_run_key
from crm_assets.workspace.store.copies import LocalCopies
from crm_assets.workspace.store.objects import AlreadyThere, ObjectStore, StoredFile
from crm_assets.workspace.store.units import INDEX, MANIFEST, RESERVED, Record, is_as, space

__all__ = ["UPLOAD_SECONDS", "Artifacts", "WrittenElsewhere"]

UPLOAD_SECONDS = 300.0
"""Pause between two uploads of a run under way, at least: what is lost with a machine."""
_SHARE_OF_TIME = 0.05  # that such uploads may take
_ATTEMPTS = 16
_RUN = "atlas/"

_logger = logging.getLogger(__name__)


class WrittenElsewhere(InputError):
    """Two have written the same file of the store, and the second is refused."""


class Artifacts(LocalCopies):
    """The files of one store, for those who work on them."""

    def __init__(self, root: Path, store: ObjectStore, *, cache_bytes: float) -> None:
        super().__init__(root, store, cache_bytes=cache_bytes)
        self._publishing = threading.RLock()
        self._agreed: set[Path] = set()
        self._shared: set[Path] = set()

    @contextmanager
    def working_on(
        self, folder: Path, *, unless: Callable[[], bool], shared: bool = False
    ) -> Iterator[None]:
        """Bring a unit's files, and upload what was changed at the end of the block and every few minutes.

        Args:
            folder: in the unit; who works on it has its lease.
            unless: tells that the lease was lost, and nothing is to be uploaded.
            shared: other machines write files of their own there meanwhile, under the same lease.

        Raises:
            WrittenElsewhere: a file was written both here and elsewhere.
            InfrastructureError: the store does not answer; what is finished is kept here.
        """
        unit = self._unit(folder)
        if unit in self._working:
            yield
            return
        self.forget()
        stored = self._stored(unit)
        self._refuse_others(unit, stored, began=True)
        if MANIFEST in stored:
            self.bring(unit / MANIFEST)
        if not self._is_finished(unit, self._records(unit)):
            self.bring_all(unit)  # a finished one's large files come when they are asked for
        self._working[unit] = stored
        if shared:
            self._shared.add(unit)
        keeper = _Keeper(lambda: None if unless() else self.publish(unit))
        keeper.start()
        try:
            yield
        except BaseException:
            keeper.end()
            if not unless():
                try:
                    self.publish(unit)
                except CrmAssetsError as error:
                    # What ended the work is more important.
                    _logger.warning("%s It is uploaded when the work goes on.", error)
            raise
        else:
            keeper.end()
            if not unless():
                self.publish(unit)
        finally:
            del self._working[unit]
            self._shared.discard(unit)
            self.forget()

    def _refuse_others(self, unit: Path, stored: Mapping[str, StoredFile], *, began: bool = False) -> None:
        """Refuse work on files of a run that somebody else has written, too.

        When it `began`, what is only there, or as it was read here, is no conflict: it is read again.
        """
        records = self._records(unit)
        for name in (each for each in stored if each.startswith(_RUN)):
            record, local = records.get(name), stamp_of(unit / name)
            if record is not None and (record.uploading or record.etag == stored[name].etag):
                continue
            if began and (local is None or is_as(record, local)):
                continue
            if local is None or not self._is_same(unit / name, self._name(unit, name)):
                raise self._written_elsewhere(unit, name)

    def publish(self, folder: Path, names: Iterable[str] | None = None, *, shared: bool = False) -> int:
        """Upload what was written in a unit since it was uploaded last; return the number of files.

        What is gone here is removed there.

        Args:
            folder: in the unit.
            names: of the files, with their folders; None for all.
            shared: the newest version counts, whoever wrote it.

        Raises:
            WrittenElsewhere: somebody else has written the same file.
            InfrastructureError: the store does not answer; the files are kept here.
        """
        unit = self._unit(folder)
        if not unit.is_dir():
            return 0
        with self._publishing:
            if names is None and unit not in self._shared:
                self._refuse_others(unit, self._found(unit))
            there = sorted(names if names is not None else _names(unit), key=_in_order)
            with self._index(unit) as records:
                changed = [
                    name
                    for name in there
                    if not is_as(records.get(name), stamp_of(unit / name), settled=True)
                ]
                gone = [] if names is not None else sorted(set(records) - set(there), key=_in_order)
                before = {name: records.get(name) for name in changed}
                for name in changed:
                    old = records.get(name) or Record(etag=None)
                    records[name] = old.model_copy(update={"uploading": True})
            if any(name.startswith(_RUN) for name in (*changed, *gone)) and self._unseal(unit, there):
                changed = [*(name for name in changed if name != MANIFEST), MANIFEST]
            for name in changed:
                self._upload(unit, name, before.get(name), shared=shared)
            for name in gone:
                self.store.remove(self._name(unit, name))
                with self._index(unit) as records:
                    records.pop(name, None)
        return len(changed)

    def _unseal(self, unit: Path, there: Iterable[str]) -> bool:
        """Remove the manifest in the store before files that it names change; tell if one is to follow."""
        record = self._records(unit).get(MANIFEST)
        if record is None or record.etag is None:
            return False
        self.store.remove(self._name(unit, MANIFEST))
        with self._index(unit) as records:
            if MANIFEST in there:
                records[MANIFEST] = Record(etag=None, uploading=True)
            else:
                del records[MANIFEST]
        return MANIFEST in there

    def _upload(self, unit: Path, name: str, before: Record | None, *, shared: bool) -> None:
        path, target, current = unit / name, self._name(unit, name), self._records(unit).get(name)
        if not path.is_file():  # removed meanwhile: partial sessions, say
            return
        try:
            if shared:
                stored = self.store.overwrite(path, target)
            else:
                stored = self.store.put(path, target, replaces=current.etag if current else None)
        except AlreadyThere:
            found = self.store.info(target)
            ours = before is not None and before.uploading  # an upload that was cut off, and had arrived
            if found is None and current is not None and current.etag is not None:
                stored = self.store.put(path, target, replaces=None)  # somebody removed it
            elif found is not None and (ours or self._is_same(path, target)):
                stored = self.store.put(path, target, replaces=found.etag)
            else:
                raise self._written_elsewhere(unit, name) from None
        with self._index(unit) as records:
            local = stamp_of(path)
            if local is not None and local.bytes == stored.bytes:
                # So that its time is the same everywhere.
                os.utime(path, ns=(time.time_ns(), stored.modified_ns))
                records[name] = Record(etag=stored.etag, bytes=stored.bytes, modified_ns=stored.modified_ns)
            else:  # it grew meanwhile
                records[name] = Record(etag=stored.etag, bytes=stored.bytes)

    def _is_same(self, path: Path, target: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            there = Path(folder) / path.name
            self.store.get(target, there)
            return filecmp.cmp(path, there, shallow=False)

    def _written_elsewhere(self, unit: Path, name: str) -> WrittenElsewhere:
        return WrittenElsewhere(
            f"{self.store.url_of(self._name(unit, name))} was written by somebody else meanwhile, so "
            f"nothing there was overwritten: choose another run key, or move {unit} away and take theirs."
        )

    def update(self, path: Path, change: Callable[[], None]) -> None:
        """Change a file that others change, too: on the newest version, and again if somebody was quicker.

        Raises:
            WrittenElsewhere: somebody was quicker every time.
            InfrastructureError: the store does not answer.
        """
        unit, name = self._place(path)
        for attempt in range(_ATTEMPTS):
            self.forget()
            self.bring(path)
            change()
            try:
                self.publish(unit, [name])
            except WrittenElsewhere:
                if attempt == _ATTEMPTS - 1:
                    raise
                with self._index(unit) as records:
                    path.unlink(missing_ok=True)
                    records.pop(name, None)
            else:
                self.forget()
                return

    def remove(self, path: Path) -> None:
        """Remove a file from the store; the one here stays.

        Raises:
            InfrastructureError: the store does not answer.
        """
        unit, name = self._place(path)
        self.store.remove(self._name(unit, name))
        with self._index(unit) as records:
            records.pop(name, None)
        self.forget()

    def agree_on(self, path: Path) -> bool:
        """Make a file that is written only once the same here and in the store: the first one counts.

        Return False if it is another one here; there need be none.

        Raises:
            InfrastructureError: the store does not answer.
        """
        if path in self._agreed:
            return True
        name = path.relative_to(self.root).as_posix()
        with space(path) as theirs:
            try:
                self.store.get(name, theirs)
            except FileNotFoundError:
                if not path.exists():
                    return True  # nobody has written it yet
                try:
                    self.store.put(path, name, replaces=None)
                except AlreadyThere:
                    self.store.get(name, theirs)
            if theirs.stat().st_size:
                if not path.exists():
                    os.chmod(theirs, 0o644)
                    os.replace(theirs, path)
                elif not filecmp.cmp(path, theirs, shallow=False):
                    return False
        self._agreed.add(path)
        return True

    def reserve(self, folder: Path) -> bool:
        """Reserve a run's key for whoever asks first; return False if the store knows it already."""
        unit = self._unit(folder)
        if self._stored(unit):
            return False
        with tempfile.TemporaryDirectory() as temporary:
            empty = Path(temporary) / RESERVED
            empty.touch()
            try:
                self.store.put(empty, self._name(unit, RESERVED), replaces=None)
            except AlreadyThere:
                return False
        self.forget()
        return True

    def release(self, folder: Path) -> None:
        """Give up a run's key, if nothing was made of it."""
        unit = self._unit(folder)
        self.forget()
        if list(self._stored(unit)) == [RESERVED]:
            self.store.remove(self._name(unit, RESERVED))
            (unit / INDEX).unlink(missing_ok=True)
            self.forget()


class _Keeper(threading.Thread):
    """Uploads a run under way every few minutes."""

    def __init__(self, upload: Callable[[], object]) -> None:
        super().__init__(name="crm-assets-upload", daemon=True)
        self._upload = upload
        self._ended = threading.Event()

    def end(self) -> None:
        """Stop, and wait for an upload that is under way."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Upload until the end."""
        pause = UPLOAD_SECONDS
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._upload()
            except (CrmAssetsError, OSError) as error:
                _logger.warning("%s It is uploaded with the next stage, or before.", error)
            pause = max(UPLOAD_SECONDS, (time.monotonic() - began) / _SHARE_OF_TIME)


def _names(unit: Path) -> Iterator[str]:
    """Yield the files of a unit that belong into the store."""
    for folder, folders, files in os.walk(unit):
        here = Path(folder)
        folders[:] = [each for each in folders if not is_run_key(each)]
        for file in files:
            if file not in (INDEX, RESERVED) and not file.endswith(UNFINISHED):
                yield (here / file).relative_to(unit).as_posix()


def _in_order(name: str) -> tuple[bool, bool, str]:
    return (name == MANIFEST, PARTIAL not in name, name)
