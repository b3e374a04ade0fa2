"""Results files of past runs, CL-Bench's or our own: which calls were made, what was said, what it cost.

Read in constant memory: the file is indexed once by conversation, and each one is read when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from crm_assets.conversations import JsonObject
from crm_assets.errors import InputError
from crm_assets.records.past_result import Known, PastModel, PastResult, PastTurn, TurnKey
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.jsonl import read_line_at, read_lines, refuse_multiline

__all__ = ["Format", "PastResult", "PastResults", "PastTurn", "RecordedModel"]

Format = Literal["clbench", "crm_assets_results", "crm_assets_sessions", "inspect"]
"""CL-Bench's results, the harness's own, a baseline's sessions.jsonl, or a log of Inspect."""

_Result = TypeVar("_Result", bound=BaseModel)


class _Agent(PastModel):
    provider: Known[str] = None
    model: Known[str] = None


class _PastMetadata(PastModel):
    agent: Known[_Agent] = None


class _Indexed(PastModel):
    """As much of a result as the index needs."""

    conversation_id: str
    per_turn_results: list[TurnKey]
    metadata: Known[_PastMetadata] = None


@dataclass(frozen=True)
class RecordedModel:
    """The model that was recorded."""

    provider: str | None
    model: str | None


class PastResults:
    """The conversations of one results file. The last line of a conversation counts."""

    def __init__(self, path: Path) -> None:
        """Read all of the file once.

        Raises:
            InputError: it cannot be read, a line of it is no result, or it holds none.
        """
        self.path = path
        self.lines = 0
        """Results in it; a conversation that stands there several times counts as often."""
        self.format: Format = "clbench"
        self.origin = RecordedModel(None, None)
        self._offsets: dict[str, int] = {}
        for line in read_lines(path):
            if not line.data.strip():
                continue
            document = self._load(line.data, line.number)
            result = self._parse(_Indexed, document, line.number)
            self._check_numbers(result.per_turn_results, line.number)
            if not self.lines:
                self.format = _format_of(document)
            if self.origin.model is None:
                self.origin = _origin(result)
            self._offsets[result.conversation_id] = line.offset
            self.lines += 1
        if not self._offsets:
            raise InputError(f"The recorded run {path} holds no conversation.")

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file."""
        return sha256_of_file(self.path)

    @property
    def conversations(self) -> frozenset[str]:
        """IDs of the conversations that it has a line for."""
        return frozenset(self._offsets)

    def read(self, conversation_id: str) -> PastResult | None:
        """Return the result of a conversation; None if the file has none.

        Raises:
            InputError: the file cannot be read any more.
        """
        offset = self._offsets.get(conversation_id)
        if offset is None:
            return None
        return self._parse(PastResult, self._load(read_line_at(self.path, offset), 0), 0)

    def turns(self, conversation_id: str) -> Mapping[int, PastTurn]:
        """Return the turns in which the agent was asked, by number; empty if it never was."""
        result = self.read(conversation_id)
        return result.turns if result else {}

    def _load(self, line: bytes, number: int) -> JsonObject:
        """Return the result on a line; of a line of sessions.jsonl, the one that it holds."""
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not self.lines:
                refuse_multiline(self.path)
            raise InputError(f"{self.path}, line {number} is not JSON: {error}.") from error
        if not isinstance(document, dict):
            raise InputError(f"{self.path}, line {number} is not a JSON object, as a result must be.")
        return document

    def _parse(self, kind: type[_Result], document: JsonObject, number: int) -> _Result:
        try:
            return kind.model_validate(_result_of(document))
        except ValidationError as error:
            # The fields that a result must have; anything else that cannot be read is unknown.
            places = [each["loc"] for each in error.errors(include_input=False)]
            if any(len(place) > 1 for place in places):
                field = next(f"{place[0]}[{place[1]}]" for place in places if len(place) > 1)
                raise InputError(f"{self.path}, line {number}: {field} must be an object.") from None
            names = {place[0] for place in places}
            missing = next(name for name in _Indexed.model_fields if name in names)
            raise InputError(f"{self.path}, line {number}: {missing} is missing.") from None

    def _check_numbers(self, turns: Sequence[TurnKey], number: int) -> None:
        """Refuse turns whose number is unknown, as no call may be left out or scored as another's."""
        seen: set[int] = set()
        for position, turn in enumerate(turns):
            if not turn.was_run:
                continue
            if turn.turn_id is None:
                reason = "must be a whole number"
            elif turn.turn_id < 1:
                reason = f"is {turn.turn_id}, but turns are numbered from 1; renumber those of the file"
            elif turn.turn_id in seen:
                reason = f"is {turn.turn_id}, as that of an earlier entry"
            else:
                seen.add(turn.turn_id)
                continue
            raise InputError(f"{self.path}, line {number}: per_turn_results[{position}].turn_id {reason}.")


def _result_of(document: JsonObject) -> JsonObject:
    """Return the result in a line: itself, or what a line of sessions.jsonl holds, if only an error."""
    facts = document.get("atlas_metadata")
    held = document.get("conversation_result")
    if isinstance(held, dict):
        return {**held, "atlas_metadata": facts}
    error = _error_in(document) or _error_in(document.get("final_payload"))
    if document.get("per_turn_results") is None and (error or "conversation_result" in document):
        kept = {"conversation_id": document.get("conversation_id"), "atlas_metadata": facts}
        return {**kept, "per_turn_results": [], "status": "error", "error_message": error}
    return document


def _error_in(document: object) -> str | None:
    values = (
        [document.get(name) for name in ("error_message", "error")] if isinstance(document, dict) else []
    )
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def _format_of(document: JsonObject) -> Format:
    if "conversation_result" in document:
        return "crm_assets_sessions"
    if document.get("format") == "inspect":
        return "inspect"
    return "crm_assets_results" if "schema_version" in document else "clbench"


def _origin(result: _Indexed) -> RecordedModel:
    agent = result.metadata.agent if result.metadata else None
    return RecordedModel(agent.provider, agent.model) if agent else RecordedModel(None, None)
