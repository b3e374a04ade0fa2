"""Sessions or turns as a CSV file for people who label them: what happened, and nobody's verdict."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path

from crm_assets.errors import InputError
from crm_assets.records import LoopSession, SessionLog, TurnResult
from crm_assets.records.reader import Entry
from crm_assets.reporting.labels.store import COLUMNS, LabelFile, Unit, identifier, read_labels
from crm_assets.reporting.sessions_view.wording import arguments, result, text
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import atomic_writer

__all__ = ["export_labels"]

_SPREADSHEET = "utf-8-sig"  # Excel takes a file without the mark for the machine's old code page


def export_labels(
    paths: BaselinePaths,
    output: Path,
    *,
    unit: Unit = "session",
    sample: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Write a row for each finished session, or each of its turns; return their number.

    A row has what the user said, the calls with what came of them, and the replies; no verdict of harness,
    teacher or judges, and not what was expected, which would give the harness's verdict away. Labels that
    the baseline has already are filled in.

    Args:
        paths: a finished baseline's.
        output: the CSV file.
        unit: what a row is.
        sample: draw so many sessions at random; None for all.
        seed: of the draw.
        overwrite: replace a file that is there, and may have labels in it.

    Raises:
        InputError: the output exists, or the sessions or labels cannot be read.
        InfrastructureError: the disk refused.
    """
    if output.exists() and not overwrite:
        raise InputError(
            f"{output} exists and may hold labels; choose another file, or add --overwrite to replace it."
        )
    log, known = SessionLog(paths.sessions), read_labels(paths)
    drawn = _draw(log, sample, seed)
    count = 0
    with atomic_writer(output) as handle:
        table = io.TextIOWrapper(handle, encoding=_SPREADSHEET, newline="")
        rows = csv.writer(table)
        rows.writerow(COLUMNS)
        for index, entry in enumerate(_finished(log)):
            if drawn is None or index in drawn:
                for row in _rows(entry, log.record(entry.offset), unit, known):
                    rows.writerow(row)
                    count += 1
        table.flush()
        table.detach()
    return count


def _finished(log: SessionLog) -> Iterator[Entry]:
    return (entry for entry in log.summaries() if entry.session.ran is not None)


def _draw(log: SessionLog, sample: int | None, seed: int) -> frozenset[int] | None:
    """Return which finished sessions to write, by their order; None for all."""
    if sample is None:
        return None
    number = sum(1 for _ in _finished(log))
    return frozenset(random.Random(seed).sample(range(number), min(sample, number)))  # noqa: S311  (a reproducible draw, no secret)


def _rows(entry: Entry, session: LoopSession, unit: Unit, known: LabelFile) -> Iterator[tuple[str, ...]]:
    turns = session.conversation_result.per_turn_results
    texts = [_turn(turn) for turn in turns]
    if unit == "session":
        yield _row(entry, None, "", "\n\n".join(texts), known)
        return
    for index, turn in enumerate(turns):
        yield _row(entry, turn.turn_id, "\n\n".join(texts[:index]), texts[index], known)


def _row(entry: Entry, turn: int | None, before: str, transcript: str, known: LabelFile) -> tuple[str, ...]:
    session = entry.session
    key = identifier(session, turn)
    given = known.labels.get(key)
    return (
        key,
        session.conversation_id,
        str(session.epoch),
        "" if turn is None else str(turn),
        before,
        transcript,
        given.label if given else "",
        given.note if given else "",
    )


def _turn(turn: TurnResult) -> str:
    """Return a turn as a person reads it; it begins with a word of ours, so that no cell is a formula."""
    lines = [f"Turn {turn.turn_id}", f"User: {text(turn.user_utterance)}"]
    for call in turn.made_calls:
        lines.append(f"Call: {call.tool_name}\n{arguments(call.arguments)}")
        lines.append(f"Rejected: {text(call.error)}" if call.error else f"Result: {result(call.result)}")
    if not turn.made_calls:
        lines.append("Call: none")
    if turn.agent_response_text:
        lines.append(f"Reply: {text(turn.agent_response_text)}")
    return "\n".join(lines)
