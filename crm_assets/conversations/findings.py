"""Findings: the problems of a dataset by line, with a limit on how many are kept."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from crm_assets.errors import InputError

__all__ = ["DEFAULT_FINDINGS", "DatasetError", "Finding", "Findings"]

DEFAULT_FINDINGS = 100
"""Number of findings kept; the rest are counted."""

NO_CONVERSATION = "contains no conversation; write one JSON object per line"
"""Reason of the finding for a dataset without conversations."""


class Finding(NamedTuple):
    """One problem in one line of a dataset."""

    file: str
    """Path of the dataset, as given."""
    line: int
    """Line number from 1; 0 for the file as a whole."""
    field: str
    """Path of the field, such as `turns[2].expected_args.amount`; empty for the line as a whole."""
    reason: str
    """The problem, as the rest of a sentence about the field."""

    def __str__(self) -> str:
        """Return `file:line: field reason`, the form that editors can jump to."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field} {self.reason}" if self.field else f"{place}: {self.reason}"


class DatasetError(InputError):
    """A malformed dataset; none of it is run.

    Attributes:
        findings: the first problems, in the order of the file.
        total: number of all problems.
    """

    def __init__(self, path: Path | str, findings: tuple[Finding, ...], total: int) -> None:
        noun = "problem" if total == 1 else "problems"
        lines = [f"{path} has {total:,} {noun} and nothing was run; correct the file and try again:"]
        lines += [f"  {finding}" for finding in findings]
        if total > len(findings):
            lines.append(f"  … and {total - len(findings):,} more")
        super().__init__("\n".join(lines))
        self.findings = findings
        self.total = total


class Findings:
    """Collects findings: the first `limit` of them, and the number of all."""

    def __init__(self, path: Path | str, limit: int = DEFAULT_FINDINGS) -> None:
        self._path = path
        self._limit = max(1, limit)
        self._kept: list[Finding] = []
        self.total = 0

    def add(self, line: int, field: str, reason: str) -> None:
        """Record one problem."""
        self.total += 1
        if len(self._kept) < self._limit:
            self._kept.append(Finding(str(self._path), line, field, reason))

    def error(self) -> DatasetError:
        """Return the error with the collected findings."""
        return DatasetError(self._path, tuple(self._kept), self.total)

    def raise_if_any(self) -> None:
        """Raise `DatasetError` if there are findings."""
        if self.total:
            raise self.error()
