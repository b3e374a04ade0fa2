"""A past results file: whose it is, which conversations it holds, and what its own verdicts were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from crm_assets.harness.recordings import Origin, Recordings
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.jsonl import read_line_at, read_lines

__all__ = ["Format", "ResultsFile", "recorded_verdicts"]

Format = Literal["clbench", "crm_assets_results", "crm_assets_sessions"]
"""CL-Bench's results, the harness's own, or the lines of a baseline's sessions.jsonl."""

_SESSION_VERDICTS = (
    "status",
    "overall_success",
    "turns_executed",
    "failed_at_turn",
    "reward_signal",
    "chain_success",
    "state_match",
    "error_message",
)
_TURN_VERDICTS = ("success", "tool_success", "response_success", "verification", "error")


@dataclass(frozen=True)
class _Place:
    """Where a conversation's line is."""

    offset: int
    turns: int
    """Turns that it holds, whether the agent was asked or not."""


class ResultsFile:
    """A results file, read in constant memory: indexed once, a line at a time after that."""

    def __init__(self, path: Path) -> None:
        """Read all of it once.

        Raises:
            InputError: it cannot be read, or a line of it is no result; names file and line.
        """
        self.path = path
        self._recordings = Recordings(path)  # refuses what is no results file
        self.sha256 = sha256_of_file(path)
        self.lines = 0
        """Results in it; a conversation that stands there several times counts as often."""
        self.format: Format = "clbench"
        self._places: dict[str, _Place] = {}
        for offset, document in self._documents():
            result = _result_of(document)
            if not self.lines:
                self.format = _format_of(document)
            self._places[result["conversation_id"]] = _Place(offset, len(result["per_turn_results"]))
            self.lines += 1

    @property
    def origin(self) -> Origin:
        """Who was recorded."""
        return self._recordings.origin

    @property
    def conversations(self) -> frozenset[str]:
        """Those that it has a line for."""
        return frozenset(self._places)

    def was_run(self, conversation_id: str) -> bool:
        """Whether the agent was asked anything in a conversation."""
        return bool(self._recordings.turns(conversation_id))

    def line(self, conversation_id: str) -> dict[str, Any] | None:
        """The line of a conversation (the last, where there are several); None where there is none."""
        place = self._places.get(conversation_id)
        if place is None:
            return None
        document: dict[str, Any] = orjson.loads(read_line_at(self.path, place.offset))
        return document

    def _documents(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for line in read_lines(self.path):
            if line.data.strip():
                yield line.offset, orjson.loads(line.data)


def _result_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = document.get("conversation_result")
    return inner if isinstance(inner, dict) else document


def _format_of(document: Mapping[str, Any]) -> Format:
    if isinstance(document.get("conversation_result"), dict):
        return "crm_assets_sessions"
    return "crm_assets_results" if "schema_version" in document else "clbench"


def recorded_verdicts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a results file says of a conversation, to stand beside what is found here.

    Returns:
        `session`: the conversation's verdicts, with reward, mode and cost where a loop ran; `turns`: each
        turn's, with its `turn_id`. Every other name has `recorded_` before it.
    """
    result = _result_of(document)
    session = {f"recorded_{name}": result[name] for name in _SESSION_VERDICTS if name in result}
    meta = document.get("atlas_metadata")
    if isinstance(meta, dict):
        reward = meta.get("session_reward")
        facts = {
            "execution_mode": meta.get("execution_mode"),
            "reward": reward.get("score") if isinstance(reward, dict) else None,
            "cost_usd": meta.get("cost_usd"),
            "dataset_revision": meta.get("dataset_revision"),
        }
        session |= {f"recorded_{name}": value for name, value in facts.items() if value is not None}
    turns = [_turn(entry) for entry in result["per_turn_results"] if isinstance(entry, dict)]
    return {"session": session, "turns": turns}


def _turn(entry: Mapping[str, Any]) -> dict[str, Any]:
    verdicts = {f"recorded_{name}": entry[name] for name in _TURN_VERDICTS if name in entry}
    score, rationale = entry.get("judge_score"), entry.get("judge_rationale")
    judge = entry.get("judge")
    call = judge.get("call") if isinstance(judge, dict) else None
    if isinstance(call, dict):  # our own form
        score, rationale = call.get("score"), call.get("rationale")
    if score is not None or rationale is not None:
        verdicts |= {"recorded_judge_score": score, "recorded_judge_rationale": rationale}
    return {"turn_id": entry.get("turn_id"), **verdicts}
