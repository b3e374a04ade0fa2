"""The smoke runs of a dataset in one table: the way from a first try to graded runs."""

from __future__ import annotations

from collections.abc import Sequence

from crm_assets.atlas.smoke import SmokeEntry, read_smoke_log
from crm_assets.reporting.document import Column, Table, figures
from crm_assets.reporting.formats import dollars, number
from crm_assets.workspace.project import Project

__all__ = ["smoke_runs", "smoke_table"]


def smoke_runs(project: Project, dataset: str) -> list[SmokeEntry]:
    """Return the smoke runs of `dataset`, oldest first.

    Raises:
        InputError: a line of the log cannot be read.
    """
    return [entry for entry in read_smoke_log(project) if entry.dataset == dataset]


def smoke_table(entries: Sequence[SmokeEntry]) -> Table:
    """Return a row for each smoke run: when, on which configuration, its reward and its checklist."""
    columns = (
        Column("Run", "code"),
        Column("When", "code"),
        Column("Configuration", "code"),
        Column("Student", "code"),
        Column("Checklist"),
        *figures("Reward", "Cost"),
    )
    rows = (
        (
            entry.run,
            entry.timestamp,
            entry.config,
            entry.models.get("student"),
            _checklist(entry),
            number(entry.reward, 3),
            dollars(entry.cost_usd),
        )
        for entry in entries
    )
    return Table.of(columns, rows)


def _checklist(entry: SmokeEntry) -> str:
    failed = [check.name for check in entry.checks if not check.passed]
    passed = f"{len(entry.checks) - len(failed)} of {len(entry.checks)} passed"
    return f"{passed}; failed: {', '.join(failed)}" if failed else passed
