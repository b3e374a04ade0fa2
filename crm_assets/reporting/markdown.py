"""Documents as Markdown that reads well without being rendered, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len

from crm_assets.reporting.document import (
    Block,
    Column,
    Details,
    Document,
    Figure,
    Point,
    Points,
    Section,
    Span,
    Table,
    Text,
    spans,
)

__all__ = ["escape", "image", "render", "render_blocks"]

_ACTIVE = re.compile(r"[\\`*\[\]<]|(?<!\w)_|_(?!\w)")
_BARE_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_SPACE = re.compile(r"\s+")
_NARROWEST = 3  # dashes that make a rule


def render(document: Document) -> str:
    """Return a document as Markdown; it ends with a line end."""
    blocks = render_blocks((*document.lead, *document.sections))
    return f"# {_inline(document.title)}\n\n{blocks}\n"


def render_blocks(blocks: Iterable[Block]) -> str:
    """Return blocks as Markdown, for a page of somebody else's."""
    return "\n\n".join(part for block in blocks for part in _block(block, 2))


def image(caption: str, address: str) -> str:
    """Return a picture that is at `address`."""
    return f"![{escape(caption)}]({address})"


def escape(text: str) -> str:
    """Return text from a dataset or a model so that Markdown takes it as nothing but text."""
    return _ACTIVE.sub(lambda match: f"\\{match[0]}", _SPACE.sub(" ", text))


def _block(block: Block, level: int) -> Iterator[str]:
    match block:
        case Section():
            yield f"{'#' * level} {escape(block.title)}"
            for inner in block.blocks:
                yield from _block(inner, level + 1)
        case Details():
            yield _inline(block.summary)
            for inner in block.blocks:
                yield from _block(inner, level)
        case Points():
            yield "\n".join(line for point in block for line in _point(point))
        case Table():
            yield _table(block)
        case Figure():
            yield image(block.caption, block.path)
        case _:
            yield _inline(block)


def _point(point: Point) -> Iterator[str]:
    yield f"- {_inline(point.text)}"
    for text in point.below:
        yield f"  - {_inline(text)}"


def _inline(text: Text) -> str:
    return "".join(map(_span, spans(text)))


def _span(span: Span) -> str:
    if span.style == "code":
        return f"`{_SPACE.sub(' ', span.text).replace('`', chr(39)) or ' '}`"
    text = escape(span.text)
    return f"**{text}**" if span.style == "strong" else text


def _table(table: Table) -> str:
    header = [_cell(column.name) for column in table.columns]
    rows = [[_cell(text) for _, text in table.texts(row)] for row in table.rows]
    widths = [max(_NARROWEST, *map(cell_len, cells)) for cells in zip(header, *rows, strict=True)]
    rule = [
        "-" * (width - 1) + (":" if column.kind == "figure" else "-")
        for column, width in zip(table.columns, widths, strict=True)
    ]
    return "\n".join(_row(cells, widths, table.columns) for cells in (header, rule, *rows))


def _cell(text: Text) -> str:
    return _BARE_PIPE.sub(r"\1\\|", _inline(text).strip())


def _row(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = []
    for cell, width, column in zip(cells, widths, columns, strict=True):
        gap = " " * (width - cell_len(cell))
        padded.append(f"{gap}{cell}" if column.kind == "figure" else f"{cell}{gap}")
    return f"| {' | '.join(padded)} |"
