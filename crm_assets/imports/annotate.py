"""Sessions that were scored again, marked as imported, with the verdicts of their file beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from crm_assets.imports.source import ResultsFile, recorded_verdicts
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import atomic_writer, json_line

__all__ = ["IMPORTED_MODE", "mark_imported"]

IMPORTED_MODE = "imported"
"""The execution mode of sessions that another run's calls were taken from."""


def mark_imported(files: RunFiles, source: ResultsFile, name: str) -> dict[str, dict[str, int]]:
    """Rewrite sessions.jsonl with what `source` said of each session; the same again changes nothing.

    Args:
        files: of the run.
        source: the results file that the calls were taken from.
        name: what the file was called.

    Returns:
        How often which verdict of the file met which of ours, as `right / wrong`, on conversations
        (`strict_success`) and turns (`turn_success`, `tool_success`).

    Raises:
        InfrastructureError: the disk refused; the file is as it was.
    """
    facts = {"file": name, "sha256": source.sha256, "format": source.format}
    met: dict[str, Counter[str]] = {
        "strict_success": Counter(),
        "turn_success": Counter(),
        "tool_success": Counter(),
    }
    with atomic_writer(files.sessions) as target, files.sessions.open("rb") as handle:
        for line in handle:
            session = orjson.loads(line)
            document = source.line(session["conversation_id"])
            verdicts = recorded_verdicts(document) if document else None
            meta = session["atlas_metadata"]
            meta["agent"] = {**meta["agent"], "imported": facts}
            meta["execution_mode"] = IMPORTED_MODE
            meta["imported"] = {
                **facts,
                "provider": source.origin.provider,
                "model": source.origin.model,
                "recorded": verdicts["session"] if verdicts else None,
                "recorded_turns": verdicts["turns"] if verdicts else [],
            }
            if verdicts and session["status"] == "succeeded":
                _count(met, session["conversation_result"], verdicts)
            target.write(json_line(session))
    return {measure: dict(sorted(counts.items())) for measure, counts in met.items()}


def _count(met: Mapping[str, Counter[str]], result: Mapping[str, Any], verdicts: Mapping[str, Any]) -> None:
    recorded = verdicts["session"].get("recorded_overall_success")
    met["strict_success"][_pair(recorded, result["overall_success"])] += 1
    theirs = {turn["turn_id"]: turn for turn in verdicts["turns"]}
    for turn in result["per_turn_results"]:
        beside = theirs.get(turn["turn_id"], {})
        met["turn_success"][_pair(beside.get("recorded_success"), turn["success"])] += 1
        met["tool_success"][_pair(beside.get("recorded_tool_success"), turn["tool_success"])] += 1


def _pair(recorded: object, ours: object) -> str:
    return f"{_word(recorded)} / {_word(ours)}"


def _word(verdict: object) -> str:
    return "right" if verdict is True else "wrong" if verdict is False else "none"
