"""Marks sessions that were scored again as imported, with the verdicts of their file beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from crm_assets.errors import InputError
from crm_assets.records import ConversationResult, ImportedFile, ImportedVerdicts, SessionLog, SessionRecord
from crm_assets.records.past import PastResult, PastResults
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import write_json, write_jsonl

__all__ = ["IMPORTED_MODE", "mark_imported"]

IMPORTED_MODE = "imported"
"""The execution mode of sessions that another run's calls were taken from."""


def mark_imported(
    files: RunFiles, source: PastResults, imported: ImportedFile
) -> dict[str, dict[str, int]]:
    """Add to a run the verdicts of `source` on each session; doing it again changes nothing.

    Args:
        files: of the run.
        source: the results file that the calls were taken from.
        imported: its name, hash and format.

    Returns:
        {measure: {`right / wrong`: count}}: how often which verdict of the file met which of ours, on
        conversations (`turns_right`) and turns (`turn_success`, `tool_success`).

    Raises:
        InputError: an older version of crm_assets began the import.
        InfrastructureError: the disk refused; the files are as they were.
    """
    log = SessionLog(files.sessions)
    if not log.is_current:
        raise InputError(
            f"An older version of crm_assets began the import in {files.folder}; import the file into "
            "another run."
        )
    met: dict[str, Counter[str]] = {
        "turns_right": Counter(),
        "turn_success": Counter(),
        "tool_success": Counter(),
    }

    def marked() -> Iterator[SessionRecord]:
        for session in log.harness_records():
            past = source.read(session.conversation_id)
            if past is not None and session.status == "succeeded":
                _count(met, session.conversation_result, past)
            verdicts = ImportedVerdicts(
                **imported.model_dump(),
                provider=source.origin.provider,
                model=source.origin.model,
                recorded=past.verdicts() if past else None,
                recorded_turns=past.turn_verdicts() if past else (),
            )
            facts = replace(session.atlas_metadata, execution_mode=IMPORTED_MODE, imported=verdicts)
            yield replace(session, atlas_metadata=facts)

    write_jsonl(files.sessions, marked())
    write_json(files.run, log.header.model_copy(update={"imported": imported}).model_dump())
    return {measure: dict(sorted(counts.items())) for measure, counts in met.items()}


def _count(met: Mapping[str, Counter[str]], result: ConversationResult, past: PastResult) -> None:
    met["turns_right"][_pair(past.every_turn, result.turns_right)] += 1
    theirs = {turn.turn_id: turn for turn in past.turn_verdicts()}
    for turn in result.per_turn_results:
        known = theirs.get(turn.turn_id)
        met["turn_success"][_pair(known.recorded_success if known else None, turn.success)] += 1
        met["tool_success"][_pair(known.recorded_tool_success if known else None, turn.tool_success)] += 1


def _pair(recorded: bool | None, ours: bool | None) -> str:
    return f"{_word(recorded)} / {_word(ours)}"


def _word(verdict: bool | None) -> str:
    return {True: "right", False: "wrong", None: "none"}[verdict]
