"""A dataset's lines, one at a time: each is parsed into a conversation or into problems."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crm_assets.conversations.conversation import Conversation
from crm_assets.conversations.rules import Problem, document_problems, structure_problems
from crm_assets.errors import InputError
from crm_assets.workspace.jsonl import Line, read_lines, refuse_multiline

__all__ = ["MAX_LINE", "DatasetReader", "ScannedLine", "parse_line"]

MAX_LINE = 16 << 20
"""Largest line in bytes; a longer one is reported and skipped without being held in memory."""

_EXCERPT = 60
_END_OF_DATA = "unexpected end of data"

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "an object",
}


class ScannedLine(NamedTuple):
    """One line of a dataset: its conversation, or its problems."""

    number: int
    data: bytes
    conversation: Conversation | None
    problems: tuple[Problem, ...]


class DatasetReader:
    """Reads a dataset once, counting and hashing its bytes.

    Attributes:
        size: bytes read so far.
        conversations: number of lines so far that are not blank (well-formed or not).
    """

    def __init__(self, path: Path, *, known_tools: Collection[str] | None = None) -> None:
        self.path = path
        self.size = 0
        self.conversations = 0
        self._known_tools = known_tools
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Return the hex SHA-256 of the bytes read so far."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[ScannedLine]:
        """Yield every line that is not blank, parsed.

        Raises:
            InputError: the file is missing, cannot be read, or is one document over several lines.
        """
        for number, _, line in self.lines():
            if len(line) > MAX_LINE:
                reason = f"the line is longer than {MAX_LINE:,} bytes; split or shorten it"
                yield ScannedLine(number, line, None, (Problem("", reason),))
            else:
                conversation, problems = parse_line(line, known_tools=self._known_tools)
                if conversation is None and self.conversations == 1:
                    refuse_multiline(self.path)
                yield ScannedLine(number, line, conversation, problems)

    def lines(self) -> Iterator[Line]:
        """Yield every line that is not blank; an oversized one is cut after `MAX_LINE`.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        if not self.path.exists():
            raise InputError(
                f"There is no dataset at {self.path}; correct the path, or list the datasets with "
                "`crm-assets datasets list`."
            )
        for line in read_lines(self.path, limit=MAX_LINE, on_bytes=self._count):
            if line.data.strip():
                self.conversations += 1
                yield line

    def _count(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)


def parse_line(
    line: bytes, *, known_tools: Collection[str] | None = None
) -> tuple[Conversation | None, tuple[Problem, ...]]:
    """Return the conversation of one line, or all its problems; one of the two is empty."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, (Problem("", _json_reason(error, line)),)
    if not isinstance(document, dict):
        return None, (Problem("", f"must be a JSON object, not {_json_type(document)}"),)
    problems = list(document_problems(document, line))
    try:
        conversation = Conversation.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems += [_field_problem(detail) for detail in details if not _is_echo(detail)]
        return None, tuple(problems)
    problems += structure_problems(conversation, known_tools)
    return (None, tuple(problems)) if problems else (conversation, ())


def _json_reason(error: orjson.JSONDecodeError, line: bytes) -> str:
    reason = f"is not valid JSON: {error.msg} (column {error.pos + 1})"
    cut_off = error.msg.startswith(_END_OF_DATA)
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        cut_off = bad.reason == _END_OF_DATA
        reason = f"is not UTF-8 (byte {bad.start + 1} of the line); save the file as UTF-8"
    if cut_off and not line.endswith(b"\n"):
        return "the file ends in the middle of this line; it was cut off while it was written"
    return reason


def _field_problem(detail: ErrorDetails) -> Problem:
    field = ""
    for part in detail["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    kind, value = detail["type"], detail["input"]
    if kind == "missing":
        return Problem(field, "is missing")
    if kind in _EXPECTED:
        return Problem(field, f"must be {_EXPECTED[kind]}, not {_json_type(value)}")
    if kind in ("string_too_short", "too_short"):
        return Problem(field, "must not be empty")
    message = detail["msg"]
    return Problem(field, f"is not valid: {message[:1].lower()}{message[1:]}")


def _is_echo(detail: ErrorDetails) -> bool:
    """Return True if a list is called too short only because its malformed items were not counted."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _json_type(value: object) -> str:
    """Return a value's type in the words of the file's reader."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        shown = value if len(value) <= _EXCERPT else f"{value[:_EXCERPT]}…"
        return f"the text {shown!r}"
    return "a list" if isinstance(value, list) else "an object"
