"""Runs as training data: a folder that Hugging Face `datasets` and TRL load as it stands."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.exports.training_attempts import Attempts, Reviews, choose_runs
from crm_assets.exports.training_card import Card, read_license
from crm_assets.exports.training_files import require_pyarrow, write_rows
from crm_assets.exports.training_rows import COLUMNS, Row, TrainingOptions, rows_of
from crm_assets.exports.training_split import taught_conversations
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_text
from crm_assets.workspace.project import Project

__all__ = ["TrainingExport", "export_training"]

_DATA: Final = "data"


@dataclass(frozen=True)
class TrainingExport:
    """Counts of an export."""

    rows: int
    held_out: int
    """Conversations of the runs that are held out."""
    left_out: Counter[str]
    """Counts of sessions and conversations that were left out, by kind."""
    runs_left_out: list[str]
    """A sentence for each run that is not in it."""


@dataclass
class _Tally:
    """Counts what the card says, as rows go by."""

    counts: Counter[str] = field(default_factory=Counter)
    conversations: set[str] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)

    def of(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.conversations.add(row["content"])
            for side in ("chosen_", "rejected_") if "chosen" in row else ("",):
                self.runs[row[f"{side}run"]] += 1
                for name in ("prompt_tokens", "completion_tokens"):
                    tokens = row[side + name]
                    self.counts[name if tokens is not None else f"{name} unknown"] += tokens or 1
            for name in ("messages", "prompt", "completion", "chosen", "rejected"):
                self.counts["messages"] += len(row.get(name) or ())
            yield row


def export_training(
    project: Project,
    dataset: str,
    runs: Sequence[BaselinePaths],
    target: Path,
    options: TrainingOptions,
    *,
    named: bool,
    reviews: Callable[[str], Reviews],
    progress: Callable[[int], object],
) -> TrainingExport:
    """Write the sessions of runs as training data: `data/train.jsonl`, `data/train.parquet`, `README.md`.

    Conversations that are held out, by the split or by a study of the dataset, are never in it. Memory does
    not grow with the sessions, but for a few numbers a conversation.

    Args:
        project: where dataset and runs are.
        dataset: name of the dataset.
        runs: finished runs of it, oldest first.
        target: the folder; it appears when it is complete.
        options: what is exported.
        named: the user named the runs: one that cannot be exported is then an error.
        reviews: returns the review statuses of a run's sessions today, by its ID.
        progress: called with the number of sessions read so far.

    Raises:
        InputError: `target` exists, pyarrow is missing, a named run cannot be exported, or nothing is left.
        InfrastructureError: the disk refused; `target` is not there.
    """
    require_pyarrow()
    if target.exists():
        raise InputError(f"{target} exists already: name another folder by --output, or remove it.")
    taught = taught_conversations(project, dataset, options.split)
    chosen, runs_left_out = choose_runs(runs, taught.revision, named=named)
    if not chosen:
        reasons = " ".join(runs_left_out) or f"Dataset {dataset} has no finished run."
        raise InputError(f"There is no run to export: {reasons} Name the runs, or make one of a model.")
    attempts = Attempts(taught, reviews, approved_only=options.approved_only)
    tally, columns = _Tally(), COLUMNS[options.format]
    rows = rows_of(options, chosen, attempts, progress)
    with _complete(target) as folder:
        (folder / _DATA).mkdir()
        count = write_rows(
            tally.of(rows), columns, folder / _DATA / "train.jsonl", folder / _DATA / "train.parquet"
        )
        if not count:
            raise InputError(f"Nothing is left to export: {_reasons(attempts)}.")
        card = Card(
            dataset=dataset,
            revision=taught.revision,
            options=options,
            studies=taught.studies,
            license=read_license(project, dataset),
            runs={run.key: run for run in chosen},
            sessions=tally.runs,
            counts=tally.counts,
            conversations=len(tally.conversations),
            rows=count,
            held_out=len(attempts.held_out),
            left_out=attempts.left_out,
        )
        write_text(folder / "README.md", card.render())
    return TrainingExport(count, len(attempts.held_out), attempts.left_out, runs_left_out)


def _reasons(attempts: Attempts) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in attempts.left_out.most_common())


@contextmanager
def _complete(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target` that is moved there when the block ends without an error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
            folder = Path(temporary) / target.name
            folder.mkdir()
            yield folder
            for file in folder.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            folder.rename(target)
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {target}: {error.strerror or error}; free some space or choose another "
            "folder, then run it again."
        ) from error
