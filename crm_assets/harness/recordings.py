"""Reads the results file of a past run: which calls were made, what was said, what it cost.

Read in constant memory: the file is indexed once by conversation, and each one's turns are read when
they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from crm_assets.conversations import JsonObject
from crm_assets.errors import InputError
from crm_assets.records.results import TokenUsage
from crm_assets.workspace.jsonl import read_line_at, read_lines

__all__ = ["Origin", "RecordedTurn", "Recordings"]


@dataclass(frozen=True)
class RecordedTurn:
    """What the agent did in one turn of a past run."""

    tool_name: str | None
    arguments: Any
    reply: str | None
    token_usage: Mapping[str, TokenUsage]
    result: Any
    """What the tool returned to it then."""
    success: bool | None
    """That run's verdict."""


@dataclass(frozen=True)
class Origin:
    """The model that was recorded."""

    provider: str | None
    model: str | None


class Recordings:
    """The conversations of one results file, CL-Bench's or our own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        self.origin = Origin(None, None)
        self._index()
        if not self._offsets:
            raise InputError(f"The recorded run {path} holds no conversation.")

    def __contains__(self, conversation_id: object) -> bool:
        return conversation_id in self._offsets

    def _index(self) -> None:
        for line in read_lines(self._path):
            if line.data.strip():
                document = self._parse(line.data, line.number)
                self._offsets[document["conversation_id"]] = line.offset
                if self.origin.model is None:
                    self.origin = _origin(document)

    def _parse(self, line: bytes, number: int) -> JsonObject:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{self._path}, line {number} is not JSON: {error}.") from error
        if isinstance(document, dict) and isinstance(document.get("conversation_result"), dict):
            document = document["conversation_result"]  # a line of sessions.jsonl
        if not isinstance(document, dict) or not isinstance(document.get("conversation_id"), str):
            raise InputError(f"{self._path}, line {number}: conversation_id is missing.")
        if not isinstance(document.get("per_turn_results"), list):
            raise InputError(f"{self._path}, line {number}: per_turn_results is missing.")
        return document

    def turns(self, conversation_id: str) -> dict[int, RecordedTurn]:
        """Return the recorded turns by number; none if the conversation was never started."""
        offset = self._offsets.get(conversation_id)
        if offset is None:
            return {}
        document = self._parse(read_line_at(self._path, offset), 0)
        return {
            int(entry["turn_id"]): _turn(entry) for entry in document["per_turn_results"] if _was_run(entry)
        }


def _was_run(entry: Any) -> bool:
    """Tell whether the agent was asked: CL-Bench's harness also has entries for what it could not start."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("turn_id"), int)
        and entry.get("verification") != "pre_execution_error"
    )


def _turn(entry: JsonObject) -> RecordedTurn:
    name, reply, success = (entry.get(key) for key in ("tool_name", "agent_response_text", "success"))
    return RecordedTurn(
        tool_name=name if isinstance(name, str) else None,
        arguments=entry.get("arguments"),
        reply=reply if isinstance(reply, str) else None,
        token_usage=_usage(entry.get("token_usage")),
        result=entry.get("result"),
        success=success if isinstance(success, bool) else None,
    )


def _usage(raw: Any) -> dict[str, TokenUsage]:
    """Return token counts by role; anything else is left out."""
    usage = {}
    for role, counts in raw.items() if isinstance(raw, dict) else ():
        if isinstance(counts, dict):
            prompt, completion, total = (
                counts.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens")
            )
            if isinstance(prompt, int) and isinstance(completion, int):
                whole = total if isinstance(total, int) else prompt + completion
                usage[role] = TokenUsage(prompt, completion, whole)
    return usage


def _origin(document: JsonObject) -> Origin:
    metadata = document.get("metadata")
    agent = metadata.get("agent") if isinstance(metadata, dict) else None
    provider, model = (agent.get(key) if isinstance(agent, dict) else None for key in ("provider", "model"))
    return Origin(
        provider if isinstance(provider, str) else None, model if isinstance(model, str) else None
    )
