"""Reads a run's session log: its header, its sessions in short, or whole ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError

from crm_assets.errors import InputError
from crm_assets.records.header import RUN_SCHEMA_VERSION, RunHeader
from crm_assets.records.sessions import LoopSession, SessionRecord
from crm_assets.records.summary import SessionSummary
from crm_assets.records.versions import RunOfVersion1, SummaryOfVersion1
from crm_assets.workspace.jsonl import Line, read_line_at, read_lines

__all__ = ["RUN_NAME", "Entry", "SessionLog"]

RUN_NAME: Final = "run.json"
"""The header's file, beside the sessions."""

_REMEDY = "make it again by materializing atlas_sessions"
_Record = TypeVar("_Record", bound=SessionRecord)
_Parsed = TypeVar("_Parsed", SessionSummary, LoopSession)
_TRACE = b',"task":'


class Entry(NamedTuple):
    """A session in short, and where the rest of it is."""

    line: int
    """From 1."""
    offset: int
    """Bytes before the line."""
    session: SessionSummary


class SessionLog:
    """The session log of one run: its sessions.jsonl, and run.json beside it."""

    def __init__(self, sessions: Path) -> None:
        """Read nothing yet.

        Args:
            sessions: the sessions.jsonl.
        """
        self.sessions = sessions
        self._old: RunOfVersion1 | None = None

    @property
    def header(self) -> RunHeader:
        """The facts of the run.

        Sessions of an old version repeat them: those of the sessions read so far, else of the first one.

        Raises:
            InputError: run.json is damaged or of a newer version, or the first session (old versions) is.
        """
        if self.is_current:
            return self._current
        if self._old is None:
            first = RunOfVersion1(self.sessions)
            for line in itertools.islice(read_lines(self.sessions), 1):
                self._summary(line, first)
            return first.header(self._run)
        return self._old.header(self._run)

    @cached_property
    def _run(self) -> dict[str, Any]:
        path = self.sessions.with_name(RUN_NAME)
        try:
            document = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise InputError(f"Cannot read {path}: {error}; {_REMEDY}.") from error
        return document if isinstance(document, dict) else {}

    @cached_property
    def is_current(self) -> bool:
        """It is of the version that is written today.

        Raises:
            InputError: it is of a newer one.
        """
        version = self._run.get("schema_version")
        if version not in (None, RUN_SCHEMA_VERSION):
            raise InputError(
                f"{self.sessions.with_name(RUN_NAME)} has schema_version {version}, and this version of "
                f"crm_assets reads up to {RUN_SCHEMA_VERSION}; use the version that wrote it."
            )
        return version is not None

    @cached_property
    def _current(self) -> RunHeader:
        try:
            return RunHeader.model_validate(self._run)
        except ValidationError as error:
            path = self.sessions.with_name(RUN_NAME)
            raise InputError(f"{path} is no run header ({_reason(error)}); {_REMEDY}.") from None

    @cached_property
    def _task_suffix(self) -> str:
        return f"::{self._current.run_id}"

    def summaries(self) -> Iterator[Entry]:
        """Read the sessions in short, in the file's order and in constant memory.

        Raises:
            InputError: the file is missing or empty, or a line is no session of this run; names both.
        """
        old = None if self.is_current else RunOfVersion1(self.sessions)
        seen: set[int] = set()
        for line in read_lines(self.sessions):
            session = self._summary(line, old)
            key = hash((session.task_id, session.epoch))
            if key in seen:
                self._refuse_twice(session, line.number)
            seen.add(key)
            yield Entry(line.number, line.offset, session)
        if not seen:
            raise InputError(
                f"{self.sessions} holds no session, so there is nothing to measure; {_REMEDY}."
            )
        if old is not None:
            self._old = old

    def _summary(self, line: Line, old: RunOfVersion1 | None) -> SessionSummary:
        kind = SessionSummary if old is None else SummaryOfVersion1
        try:
            session = _parse(kind, line.data)
        except msgspec.DecodeError as error:
            raise InputError(
                f"{self.sessions}, line {line.number} is not a session ({_decoding(error)}); {_REMEDY}."
            ) from None
        self._check(line.number, session, 1 if old else RUN_SCHEMA_VERSION)
        if old is not None:
            assert isinstance(session, SummaryOfVersion1)
            old.add(line.number, session)
        elif not session.task_id.endswith(self._task_suffix):
            raise InputError(
                f"{self.sessions}, line {line.number}: task {session.task_id!r} is not of run "
                f"{self.header.run_id}; {_REMEDY}."
            )
        return session

    def _check(self, number: int, session: SessionSummary, version: int) -> None:
        if session.schema_version != version:
            raise InputError(
                f"{self.sessions}, line {number} has schema_version {session.schema_version}, and "
                f"{RUN_NAME} beside it goes with {version}; {_REMEDY}, or use the version that wrote it."
            )
        result = session.conversation_result
        if session.status == "succeeded" and (result is None or result.status != "completed"):
            held = "no conversation_result" if result is None else f"a result that is {result.status!r}"
            raise InputError(
                f"{self.sessions}, line {number} is a session that succeeded, yet holds {held}; {_REMEDY}."
            )

    def search(self, text: str) -> Iterator[Entry]:
        """Read the sessions in short whose line holds `text`; other lines are not parsed.

        Raises:
            InputError: the file cannot be read, or a line with `text` is no session.
        """
        wanted = orjson.dumps(text)[1:-1]
        old = None if self.is_current else RunOfVersion1(self.sessions)
        for line in read_lines(self.sessions):
            if wanted in line.data:
                yield Entry(line.number, line.offset, self._summary(line, old))
                self._old = old

    def _refuse_twice(self, session: SessionSummary, number: int) -> None:
        for line in read_lines(self.sessions):
            if line.number == number:
                return  # two tasks of one hash
            earlier = _parse(SessionSummary, line.data)
            if (earlier.task_id, earlier.epoch) == (session.task_id, session.epoch):
                raise InputError(
                    f"{self.sessions}, line {number}: task {session.task_id!r} already stands in line "
                    f"{line.number} and would count twice; {_REMEDY}."
                )

    def records(self) -> Iterator[LoopSession]:
        """Read whole sessions, one at a time; those of other agents have no trace.

        Raises:
            InputError: as `record`.
        """
        for line in read_lines(self.sessions):
            yield self._record(LoopSession, line.data, f"line {line.number}")

    def without_traces(self) -> Iterator[LoopSession]:
        """Read whole sessions but for their traces, one at a time, which takes a fraction of the time.

        Raises:
            InputError: as `record`.
        """
        return (session for _, session in self.located())

    def located(self) -> Iterator[tuple[int, LoopSession]]:
        """Read as `without_traces`, with the bytes before each session's line.

        Raises:
            InputError: as `record`.
        """
        for line in read_lines(self.sessions):
            yield line.offset, self._without_trace(line.data, f"line {line.number}")

    def record_without_trace(self, offset: int) -> LoopSession:
        """Read the session whose line begins at `offset`, but for its trace.

        Raises:
            InputError: as `record`.
        """
        return self._without_trace(read_line_at(self.sessions, offset), f"byte {offset:,}")

    def _without_trace(self, line: bytes, place: str) -> LoopSession:
        try:
            return _parse(LoopSession, line)
        except msgspec.DecodeError as error:
            raise self._cannot_show(place, _decoding(error)) from None

    def harness_records(self) -> Iterator[SessionRecord]:
        """Read whole sessions without what the Atlas loop adds, one at a time.

        Raises:
            InputError: as `record`.
        """
        for line in read_lines(self.sessions):
            yield self._record(SessionRecord, line.data, f"line {line.number}")

    def record(self, offset: int) -> LoopSession:
        """Read the whole session whose line begins at `offset`.

        Raises:
            InputError: the file cannot be read, or the line is no session.
        """
        return self._record(LoopSession, read_line_at(self.sessions, offset), f"byte {offset:,}")

    def _record(self, kind: type[_Record], line: bytes, place: str) -> _Record:
        try:
            record: _Record = _adapter(kind).validate_json(line)
        except ValidationError as error:
            raise self._cannot_show(place, _reason(error)) from None
        return record

    def _cannot_show(self, place: str, reason: str) -> InputError:
        return InputError(
            f"{self.sessions}, {place} is no session that can be shown ({reason}); {_REMEDY}."
        )


def _parse(kind: type[_Parsed], line: bytes) -> _Parsed:
    """Parse a line up to its trace, which few need and which is most of it."""
    # A line without a trace ends with two objects, its facts and itself.
    body, found, _ = (line, b"", b"") if line.endswith(b"}}\n") else line.partition(_TRACE)
    if found and line.endswith(b"}\n"):
        try:
            return _decode(kind, body + b"}")
        except msgspec.DecodeError:
            pass  # what was found is part of a call, say: closing one object too few is no JSON
    return _decode(kind, line.rstrip(b"\r\n"))  # so that a line that was cut off is called truncated


def _decode(kind: type[_Parsed], line: bytes) -> _Parsed:
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    parsed: _Parsed = _DECODERS[kind].decode(line)
    return parsed


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[_Record]) -> TypeAdapter[Any]:
    """Return what reads a kind of record, made when it is first needed: that takes milliseconds."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].replace(" at line 1 column ", " at column ")
    return f"{field}: {message}" if field else message


def _decoding(error: msgspec.DecodeError) -> str:
    """Return what is wrong, the field first: msgspec names it last, as in «… - at `$.epoch`»."""
    message, found, place = str(error).partition(" - at `$")
    return f"{place.strip('.`')}: {message}" if found else message
