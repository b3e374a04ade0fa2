"""What is wrong with a dataset, line by line, without keeping more of it than a person would read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from crm_assets.errors import InputError

__all__ = ["DEFAULT_FINDINGS", "DatasetError", "Finding", "Findings"]

DEFAULT_FINDINGS = 100
"""How many findings are kept; the rest are counted."""


class Finding(NamedTuple):
    """One thing wrong with one line of a dataset."""

    file: str
    """The dataset's path as it was given."""
    line: int
    """Line number from 1; 0 for the file as a whole."""
    field: str
    """Path of the field, such as `turns[2].expected_args.amount`; empty for the line as a whole."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        """`file:line: field reason`, the form that editors jump to."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field} {self.reason}" if self.field else f"{place}: {self.reason}"


class DatasetError(InputError):
    """A dataset that cannot be run as it is.

    Attributes:
        findings: the first things wrong with it, in the order of the file.
        total: how many there are in all.
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
        """Note one thing that is wrong."""
        self.total += 1
        if len(self._kept) < self._limit:
            self._kept.append(Finding(str(self._path), line, field, reason))

    def error(self) -> DatasetError:
        """The error that carries what was collected."""
        return DatasetError(self._path, tuple(self._kept), self.total)

    def raise_if_any(self) -> None:
        """Raise `DatasetError` unless nothing was found."""
        if self.total:
            raise self.error()
