"""Markdown that is readable without being rendered, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from crm_assets.reporting.formats import plain

__all__ = ["code", "escape", "table"]

_ACTIVE = re.compile(r"[\\`*\[\]<]|(?<!\w)_|_(?!\w)")
_BARE_PIPE = re.compile(r"(?<!\\)\|")


def escape(text: str) -> str:
    """Text from a dataset or a model, so that Markdown takes it as nothing but text."""
    return _ACTIVE.sub(lambda match: f"\\{match[0]}", plain(text))


def code(text: str) -> str:
    """Text as a code span."""
    return f"`{plain(text).replace('`', chr(39)) or ' '}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table with aligned columns: the first `left` to the left, figures to the right.

    Pipes in cells are escaped here, so that no cell can break the row.
    """
    lines = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(cell_len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if index < left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join(_row(line, widths, left) for line in (lines[0], rule, *lines[1:]))


def _cell(text: str) -> str:
    return _BARE_PIPE.sub(r"\\|", " ".join(text.split()))


def _row(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = []
    for index, (cell, width) in enumerate(zip_longest(cells, widths, fillvalue="")):
        gap = " " * (int(width) - cell_len(str(cell)))
        padded.append(f"{cell}{gap}" if index < left else f"{gap}{cell}")
    return f"| {' | '.join(padded)} |"
