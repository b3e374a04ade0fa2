"""Documents in a terminal, eighty columns wide if need be."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = ["show"]

_STYLES: dict[Style, str] = {
    "plain": "",
    "strong": "bold",
    "code": "",
    "note": "dim",
    "good": "green",
    "bad": "red",
    "cut": "",
}
_WIDEST_NAME = 24  # characters: of a table without a header, and of a name that does not wrap


def show(*blocks: Block, console: Console | None = None) -> None:
    """Print blocks, one below the other.

    Args:
        blocks: what to print.
        console: where to; left out, standard output.
    """
    from rich.console import Console, Group  # noqa: PLC0415  (heavy, as in all of this module)

    terminal = console or Console()
    for block in blocks:
        terminal.print(Group(*_block(block)))  # texts by themselves would lose how they wrap


def _block(block: Block) -> Iterator[RenderableType]:
    match block:
        case Section():
            # Not the table's own title: that is wrapped to the table's width.
            yield _text(document.strong(f"\n{block.title}"))
            for inner in block.blocks:
                yield from _block(inner)
        case Details():
            yield _text(block.summary)
        case Points():
            for point in block:
                yield _text(("- ", point.text))
                yield from (_text(("  - ", text)) for text in point.below)
        case Table():
            yield _table(block)
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


def _table(table: Table) -> RenderableType:
    from rich import box  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415

    if table.header:
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    else:
        grid = RichTable.grid(padding=(0, 2, 0, 0))
    rows = [
        [(column, _text(text)) for column, text in table.texts(row) if not column.wide]
        for row in table.rows
    ]
    for index, column in enumerate(column for column in table.columns if not column.wide):
        figure = column.kind == "figure"
        width = max((row[index][1].cell_len for row in rows), default=0)
        grid.add_column(
            _header(column, width),
            style="" if table.header or index else "dim",
            justify="right" if figure else "left",
            no_wrap=figure or (column.kind == "code" and width <= _WIDEST_NAME),
            overflow="fold",
            max_width=None if table.header or index else _WIDEST_NAME,
        )
    for row in rows:
        grid.add_row(*(text for _, text in row))
    return grid if table.header else Padding(grid, (0, 0, 0, 2))


def _header(column: Column, width: int) -> Text:
    """Return a column's name, a figure's on lines no wider than its figures where words allow."""
    if column.kind != "figure":
        return _text(column.name)
    name = column.name.replace(" / ", "/ ")  # no line of a slash alone
    longest = max(map(len, name.split()), default=1)
    return _text("\n".join(textwrap.wrap(name, max(width, longest))))
