"""The ledger of a run: every attempt to call a model, written before its reply is handed on.

Sums by session and role are kept as it grows and found again when it is opened; the replies of an earlier
start are found again too, so that an interrupted session that asks the same is not charged twice.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from io import FileIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from crm_assets.errors import InfrastructureError
from crm_assets.llm.entries import (
    LedgerEntry,
    LedgerNote,
    SpendingSums,
    read_ledger,
    read_ledger_lines,
)
from crm_assets.llm.interface import Role
from crm_assets.llm.spending import Counted, Spending
from crm_assets.workspace.files import atomic_writer
from crm_assets.workspace.jsonl import (
    open_locked,
    read_line_at,
    read_lines,
    read_lines_at,
    write_lines,
)

__all__ = ["CallKey", "Ledger", "Recording", "ledger_span", "ledger_totals", "merge_ledgers"]

CallKey = tuple[Role, str, int]
"""Role, request hash and ordinal: one call of a session."""

_SESSIONS_AT_HAND = 1024
_A_CALL = b'"kind":"call"'


class Recording:
    """The calls and notes of a ledger's file, by session; keeps places, not the lines themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: dict[str, array[int]] = {}
        self._notes: dict[tuple[str, str], int] = {}
        self._at_hand: OrderedDict[str, dict[CallKey, list[LedgerEntry]]] = OrderedDict()

    @classmethod
    def read(cls, path: Path) -> Recording:
        """The recording of a finished run.

        Raises:
            InputError: there is no such file, or a line is not a ledger's entry.
        """
        recording = cls(path)
        for place, _, line in read_ledger_lines(path):
            recording.add(place, line)
        return recording

    def add(self, place: int, line: LedgerEntry | LedgerNote) -> None:
        """Remember where a line is."""
        for session in line.sessions:
            if isinstance(line, LedgerNote):
                self._notes[session, line.name] = place
            else:
                self._calls.setdefault(session, array("q")).append(place)

    def add_calls(self, session: str, places: array[int]) -> None:
        """Remember where further calls of a session are."""
        self._calls.setdefault(session, array("q")).extend(places)
        self._at_hand.pop(session, None)

    def attempts(self, session: str, key: CallKey) -> list[LedgerEntry]:
        """The recorded attempts of one call, in order; none if it was never made."""
        if session not in self._calls:
            return []
        calls = self._at_hand.get(session)
        if calls is None:
            calls = self._at_hand[session] = self._load(session)
            if len(self._at_hand) > _SESSIONS_AT_HAND:
                self._at_hand.popitem(last=False)
        else:
            self._at_hand.move_to_end(session)
        return calls.get(key, [])

    def noted(self, session: str, name: str) -> dict[str, Any] | None:
        """The last note of that name, None if there is none."""
        place = self._notes.get((session, name))
        if place is None:
            return None
        return LedgerNote.model_validate_json(read_line_at(self._path, place)).document

    def _load(self, session: str) -> dict[CallKey, list[LedgerEntry]]:
        calls: dict[CallKey, list[LedgerEntry]] = defaultdict(list)
        for line in read_lines_at(self._path, self._calls[session]):
            entry = LedgerEntry.model_validate_json(line)
            calls[entry.role, entry.request_sha256, entry.ordinal].append(entry)
        for attempts in calls.values():
            attempts.sort(key=lambda entry: entry.attempt)
        return dict(calls)


class Ledger:
    """Appends to `path`; without one it keeps the sums alone, and notes nothing."""

    def __init__(
        self, path: Path | None = None, *, before: Path | None = None, sessions: Collection[str] = ()
    ) -> None:
        """Open it, resuming what is there; a line torn by a crash is cut off.

        Args:
            path: where it is.
            before: the ledger of the run before it was divided, which is read alone.
            sessions: keys of those whose calls in `before` count here.

        Raises:
            InputError: another process writes it, or a line is not a ledger's entry.
            InfrastructureError: the disk refused.
        """
        self.path = path
        self._by_session: dict[str, SpendingSums] = {}
        self._all = SpendingSums()
        self._handle: FileIO | None = None
        self._end = 0
        self._recording = Recording(path) if path else None
        self._before = self._read_before(before, sessions) if before else None
        self.before = self._all.counted().amount
        """What the sessions had spent before the run was divided."""
        self._appended: dict[str, array[int]] = {}
        """By session: places of the calls of this start, until it begins again."""
        if path is not None:
            try:
                self._handle = open_locked(path)
                self._resume(path, self._handle)
            except BaseException as error:
                self.close()
                if isinstance(error, OSError):
                    raise self._disk(error) from error
                raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; further calls cannot be recorded."""
        if self._handle is not None:
            self._handle.close()

    def append(self, entry: LedgerEntry) -> None:
        """Record one attempt.

        Raises:
            InfrastructureError: the disk refused.
        """
        place = self._end
        self._write(entry)
        self._count(entry)
        if self._recording is not None:
            self._appended.setdefault(entry.session, array("q")).append(place)

    def begin_again(self, session: str) -> None:
        """Let a session find the calls that it has made in this start among the earlier ones."""
        places = self._appended.pop(session, None)
        if self._recording is not None and places is not None:
            self._recording.add_calls(session, places)

    def note(self, session: str, kind: str, document: dict[str, Any]) -> None:
        """Record what a session starts from.

        Raises:
            InfrastructureError: the disk refused.
        """
        note = LedgerNote(session=session, name=kind, document=document)
        place = self._end
        self._write(note)
        if self._recording is not None:
            self._recording.add(place, note)

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """Return what a session started from, also in earlier starts of the run; None if not noted."""
        found = self._recording.noted(session, kind) if self._recording else None
        return self._before.noted(session, kind) if found is None and self._before else found

    def earlier_attempts(self, session: str, key: CallKey) -> list[LedgerEntry]:
        """The attempts of one call that earlier starts of the run made."""
        before = self._before.attempts(session, key) if self._before else []
        return [*before, *self._recording.attempts(session, key)] if self._recording else before

    def spent(self, session: str) -> Mapping[Role, Spending]:
        """The cost of a session, by role."""
        sums = self._by_session.get(session)
        return sums.by_role() if sums else {}

    def total(self) -> Spending:
        """The run's cost."""
        return self._all.total()

    def by_role(self) -> Mapping[Role, Spending]:
        """The run's cost, by role."""
        return self._all.by_role()

    def counted(self, session: str | None = None, *, role: Role | None = None) -> Counted:
        """Return what budgets count, of one session or of all, and of one role or of all."""
        sums = self._all if session is None else self._by_session.get(session)
        return Counted() if sums is None else sums.counted(role)

    def _read_before(self, path: Path, sessions: Collection[str]) -> Recording | None:
        if not path.is_file():
            return None
        recording = Recording(path)
        for place, _, line in read_ledger_lines(path, sessions):
            recording.add(place, line)
            if isinstance(line, LedgerEntry):
                self._count(line)
        return recording

    def _resume(self, path: Path, handle: FileIO) -> None:
        assert self._recording is not None
        for place, length, line in read_ledger_lines(path):
            self._end = place + length
            self._recording.add(place, line)
            if isinstance(line, LedgerEntry):
                self._count(line)
        handle.truncate(self._end)

    def _count(self, entry: LedgerEntry) -> None:
        self._all.add(entry)
        for session in entry.sessions:
            sums = self._by_session.get(session)
            if sums is None:
                sums = self._by_session[session] = SpendingSums()
            sums.add(entry)

    def _write(self, line: LedgerEntry | LedgerNote) -> None:
        if self._handle is None:
            return
        data = line.model_dump_json().encode() + b"\n"
        try:
            write_lines(self._handle, [data])
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise self._disk(error) from error
        self._end += len(data)

    def _disk(self, error: OSError | ValueError) -> InfrastructureError:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return InfrastructureError(
            f"Could not write the ledger {self.path}: {reason}; what is finished is kept."
        )


def ledger_totals(path: Path) -> dict[Role, Spending]:
    """Return the cost of a recorded run, by role.

    Raises:
        InputError: there is no such file, or a line is not a ledger's entry; names file and line.
    """
    sums = SpendingSums()
    for entry in read_ledger(path):
        sums.add(entry)
    return sums.by_role()


def merge_ledgers(target: Path, sources: Sequence[Path]) -> None:
    """Write the lines of several ledgers to one, in the order in which their calls ended.

    Args:
        target: the ledger of all.
        sources: ledgers; a last line that a crash tore is left out.

    Raises:
        InfrastructureError: the disk refused.
    """
    with atomic_writer(target) as handle:
        handle.writelines(line for _, line in heapq.merge(*map(_by_end, sources), key=itemgetter(0)))


def _by_end(path: Path) -> Iterator[tuple[datetime, bytes]]:
    """Yield a ledger's lines, each with when its call ended; a note with when the call before it did."""
    ended = datetime.min.replace(tzinfo=timezone.utc)
    for line in read_lines(path):
        if not line.is_torn:
            document = orjson.loads(line.data)
            if document.get("kind") == "call":
                ended = _ended(document["started_at"], document["latency_seconds"])
            yield ended, line.data


def _ended(started_at: str, seconds: float) -> datetime:
    return datetime.fromisoformat(started_at) + timedelta(seconds=seconds)


def ledger_span(path: Path) -> tuple[datetime, datetime] | None:
    """Return when a run's first call was made and when its last one ended; None without any call.

    Of all calls, in whatever order they stand.

    Raises:
        InputError: there is no such file.
    """
    first, last = math.inf, -math.inf
    for line in read_lines(path):
        if _A_CALL not in line.data or line.is_torn:
            continue  # not read as entries: that takes ten times as long
        call = orjson.loads(line.data)
        started = datetime.fromisoformat(call["started_at"]).timestamp()
        first, last = min(first, started), max(last, started + call["latency_seconds"])
    if first > last:
        return None
    return datetime.fromtimestamp(first, timezone.utc), datetime.fromtimestamp(last, timezone.utc)
