"""Documents in a terminal, eighty columns wide if need be.

Keys and names stay whole, so that they can be copied: a table that is too wide for them is written row by
row instead. What is longer than the screen goes to a pager.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.reporting import document
from crm_assets.reporting.document import (
    Block,
    Column,
    Details,
    Figure,
    Points,
    Section,
    Style,
    Table,
    spans,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["show"]

_STYLES: dict[Style, str] = {
    "plain": "",
    "strong": "bold",
    "code": "",
    "note": "dim",
    "good": "green",
    "mixed": "yellow",
    "bad": "red",
    "cut": "",
}
_GAP = 2  # characters between columns
_INDENT = 4
_WIDEST_NAME = 24  # characters: of a table without a header
_LONGEST_WORD = 40  # characters: longer words of texts may be broken


def show(*blocks: Block, console: Console | None = None) -> None:
    """Print blocks, one below the other; on a terminal through a pager if they are longer than it.

    Args:
        blocks: what to print.
        console: where to, without a pager; left out, standard output.
    """
    from rich.console import Console  # noqa: PLC0415  (heavy, as in all of this module)

    terminal = console or Console()
    texts = [text for block in blocks for text in _block(block, terminal)]
    lines = sum(len(_wrapped(text, terminal, terminal.width)) for text in texts)
    if console is None and terminal.is_terminal and lines > terminal.height:
        os.environ.setdefault("LESS", "-FRX")  # colors, no clearing of the screen
        with terminal.pager(styles=terminal.color_system is not None):
            _print(texts, terminal)
    else:
        _print(texts, terminal)


def _print(texts: Sequence[Text], terminal: Console) -> None:
    from rich.console import Group  # noqa: PLC0415

    for text in texts:
        terminal.print(Group(text), crop=False)  # a text by itself would lose how it wraps


def _block(block: Block, console: Console) -> Iterator[Text]:
    match block:
        case Section():
            yield _text(document.strong(f"\n{block.title}"))
            for inner in block.blocks:
                yield from _block(inner, console)
        case Details():
            yield _text(block.summary)
        case Points():
            for point in block:
                yield _text(("- ", point.text))
                yield from (_text(("  - ", text)) for text in point.below)
        case Table():
            yield from _table(block, console)
        case Figure():
            yield _text(block.caption)
        case _:
            yield _text(block)


def _text(text: document.Text) -> Text:
    """Return rich's text; never a string, in which rich would read [brackets] as markup."""
    from rich.text import Text  # noqa: PLC0415

    pieces = list(spans(text))
    cut = any(piece.style == "cut" for piece in pieces)
    joined = Text(no_wrap=cut, overflow="ellipsis" if cut else None)
    for piece in pieces:
        joined.append(piece.text, _STYLES[piece.style])
    return joined


class _Laid(NamedTuple):
    """A column of a table as it is to be laid out; widths in characters."""

    header: Text
    cells: list[Text]
    right: bool
    """Aligned to the right."""
    natural: int
    """Width at which nothing wraps."""
    least: int
    """Width at which no word that must stay whole is broken."""

    @classmethod
    def of(cls, column: Column, cells: list[Text], *, header: bool) -> _Laid:
        """Return the layout of a column."""
        longest = max((_longest_line(cell) for cell in cells), default=0)
        name = _header(column, longest) if header else _text("")
        natural = max(longest, _longest_line(name))
        words = max(map(_longest_word, (*cells, name)))
        least = min(words, _LONGEST_WORD) if column.kind == "text" else natural
        return cls(name, cells, column.kind == "figure", natural, least)


def _table(table: Table, console: Console) -> Iterator[Text]:
    shown = [column for column in table.columns if not column.wide]
    rows = [[_text(text) for column, text in table.texts(row) if not column.wide] for row in table.rows]
    columns = [
        _Laid.of(column, [row[index] for row in rows], header=table.header)
        for index, column in enumerate(shown)
    ]
    if not table.header:
        yield from _pairs(columns, console)
        return
    widths = _widths(columns, console.width - 2)  # a space on either side
    yield _text("")
    yield from _grid(columns, widths, console) if widths else _stack(columns, console)
    yield _text("")


def _widths(columns: Sequence[_Laid], room: int) -> list[int] | None:
    """Return the widths at which the columns fit into `room`; None if they do not.

    Each gets its least width, and of the rest an even share, as far as it needs it.
    """
    widths = [column.least for column in columns]
    free = room - sum(widths) - _GAP * (len(columns) - 1)
    if free < 0:
        return None
    wanting = sorted(range(len(columns)), key=lambda index: columns[index].natural - widths[index])
    for done, index in enumerate(wanting):
        share = min(columns[index].natural - widths[index], free // (len(wanting) - done))
        widths[index] += share
        free -= share
    return widths


def _grid(columns: Sequence[_Laid], widths: Sequence[int], console: Console) -> Iterator[Text]:
    from rich.text import Text  # noqa: PLC0415

    aligned = [column.right for column in columns]
    yield from _beside([column.header for column in columns], widths, aligned, console, above=True)
    yield Text(f" {'─' * (sum(widths) + _GAP * (len(widths) - 1))}")
    for cells in zip(*(column.cells for column in columns), strict=True):
        yield from _beside(cells, widths, aligned, console)


def _beside(
    cells: Sequence[Text],
    widths: Sequence[int],
    aligned: Sequence[bool],
    console: Console,
    *,
    above: bool = False,
) -> Iterator[Text]:
    """Yield the lines of a row, its cells wrapped to `widths`; shorter cells start `above` or end below."""
    wrapped = [_wrapped(cell, console, width) for cell, width in zip(cells, widths, strict=True)]
    if above:
        most = max(map(len, wrapped))
        wrapped = [[*[_text("")] * (most - len(lines)), *lines] for lines in wrapped]
    for lines in zip_longest(*wrapped):
        row = _text(" ")
        for line, width, right in zip(lines, widths, aligned, strict=True):
            cell = _text("") if line is None else line
            space = " " * (width - cell.cell_len)
            row.append(space if right else "").append_text(cell).append("" if right else space)
            row.append(" " * _GAP)
        row.rstrip()
        row.no_wrap, row.overflow = True, "ignore"
        yield row


def _stack(columns: Sequence[_Laid], console: Console) -> Iterator[Text]:
    """Yield a table that does not fit row by row: the first cell, and below it the others with names."""
    first, *others = columns
    for index, key in enumerate(first.cells):
        key.no_wrap, key.overflow = True, "ignore"
        yield key
        for right in (False, True):
            line = _text("")
            for column in (each for each in others if each.right == right):
                part = _text("").append(f"{' '.join(column.header.plain.split())} ", "dim")
                part.append_text(column.cells[index])
                if line.plain and line.cell_len + part.cell_len + _INDENT + _GAP > console.width:
                    yield from _indented(line, console)
                    line = _text("")
                line.append(" " * _GAP if line.plain else "").append_text(part)
            if line.plain:
                yield from _indented(line, console)


def _pairs(columns: Sequence[_Laid], console: Console) -> Iterator[Text]:
    """Yield names and values; a word that does not fit beside its name stands below it."""
    names, values = columns
    width = min(names.natural, _WIDEST_NAME)
    room = max(console.width - width - 2 * _GAP, 1)
    for name, value in zip(names.cells, values.cells, strict=True):
        name.stylize("dim")
        below = room < _longest_word(value) <= console.width - _INDENT
        cells = (name, _text("") if below else value)
        for line in _beside(cells, (width, room), (False, False), console):
            yield _text(" ").append_text(line)
        if below:
            yield from _indented(value, console)


def _indented(text: Text, console: Console) -> Iterator[Text]:
    for line in _wrapped(text, console, console.width - _INDENT):
        yield _text(" " * _INDENT).append_text(line)


def _wrapped(text: Text, console: Console, width: int) -> list[Text]:
    lines = list(text.wrap(console, max(width, 1), overflow=text.overflow or "fold", no_wrap=text.no_wrap))
    for line in lines:
        line.rstrip()
    return lines


def _longest_line(text: Text) -> int:
    return max((line.cell_len for line in text.split("\n", allow_blank=True)), default=0)


def _longest_word(text: Text) -> int:
    from rich.cells import cell_len  # noqa: PLC0415

    return max(map(cell_len, text.plain.split()), default=0)


def _header(column: Column, width: int) -> Text:
    """Return a column's name, a figure's on lines no wider than its figures where words allow."""
    if column.kind != "figure":
        return _text(column.name)
    name = column.name.replace(" / ", "/ ")  # no line of a slash alone
    longest = max(map(len, name.split()), default=1)
    return _text("\n".join(textwrap.wrap(name, max(width, longest))))
