"""Documents: what a page or a terminal shows, apart from how it is written.

A `Document` holds sections, a `Section` holds blocks: paragraphs, lists, tables, figures. Three modules
render them: `terminal` (rich), `markdown` and `html`. All text is data: renderers escape it, so that no
name of a dataset and no reply of a model becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from crm_assets.reporting.formats import NOTHING, number, visible

__all__ = [
    "Block",
    "Cell",
    "Column",
    "Details",
    "Document",
    "Figure",
    "Point",
    "Points",
    "Section",
    "Span",
    "Style",
    "Table",
    "Text",
    "code",
    "figures",
    "link",
    "note",
    "spans",
    "strong",
]

Style = Literal["plain", "strong", "code", "note", "good", "mixed", "bad", "cut"]
"""`mixed`: between good and bad; `cut`: a terminal cuts these lines at its width, it does not wrap them."""


@dataclass(frozen=True)
class Span:
    """A piece of text in one style."""

    text: str
    style: Style = "plain"
    href: str = ""
    """Address that a page links to; READMEs and terminals leave it out."""


Text: TypeAlias = "str | Span | tuple[Text, ...]"
"""A text: plain, in one style, or several of them in a row."""
Cell: TypeAlias = "Text | int | None"
"""A table's cell; an int gets thousands separators, None is shown as a dash."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: Literal["text", "code", "figure", "heat"] = "text"
    """`figure` columns are aligned to the right; they, `heat` and `code` never wrap. The styles of `heat`
    columns color whole cells."""
    wide: bool = False
    """Left out in a terminal, which has no room for it."""


@dataclass(frozen=True)
class Table:
    """A table with one header row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    header: bool = True
    """False for pairs of names and values."""
    sortable: bool = False
    """On a page, a click on a column's name sorts the rows."""

    kind: ClassVar = "table"

    @classmethod
    def of(
        cls, columns: Iterable[Column], rows: Iterable[tuple[Cell, ...]], *, sortable: bool = False
    ) -> Table:
        """Build a table from anything that yields rows."""
        return cls(tuple(columns), tuple(rows), sortable=sortable)

    @classmethod
    def pairs(cls, rows: Iterable[tuple[Text, Cell]]) -> Table:
        """Build a table of names and values, without a header."""
        return cls((Column("Name"), Column("Value")), tuple(rows), header=False)

    def texts(self, row: tuple[Cell, ...]) -> Iterator[tuple[Column, Text]]:
        """Yield a row's cells as text, each with its column.

        Raises:
            ValueError: the row has another number of cells than the table has columns.
        """
        for column, cell in zip(self.columns, row, strict=True):
            if cell is None or isinstance(cell, int):
                yield column, NOTHING if cell is None else number(cell)
            else:
                yield column, code(cell) if column.kind == "code" and isinstance(cell, str) else cell


@dataclass(frozen=True)
class Point:
    """An item of a list, with more below it."""

    text: Text
    below: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Points:
    """A bulleted list."""

    items: tuple[Text | Point, ...]

    kind: ClassVar = "points"

    def __iter__(self) -> Iterator[Point]:
        """Yield every item as a `Point`."""
        for item in self.items:
            yield item if isinstance(item, Point) else Point(item)


@dataclass(frozen=True)
class Figure:
    """A picture."""

    name: str
    caption: str
    """Plain text: what the picture shows."""
    svg: str = ""
    """The picture as an `<svg>` element, for a page that holds it."""
    path: str = ""
    """The picture's file, relative to a page that links to it."""

    kind: ClassVar = "figure"


@dataclass(frozen=True)
class Details:
    """Blocks that a page shows when their summary is clicked."""

    summary: Text
    blocks: tuple[Block, ...]

    kind: ClassVar = "details"


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; sections within sections get smaller headings."""

    title: str
    blocks: tuple[Block, ...]

    kind: ClassVar = "section"


Block: TypeAlias = "Text | Points | Table | Figure | Details | Section"
"""A `Text` by itself is a paragraph."""


@dataclass(frozen=True)
class Document:
    """A whole page."""

    title: Text
    lead: tuple[Block, ...]
    """Blocks before the first section."""
    sections: tuple[Section, ...] = ()


def strong(text: str) -> Span:
    """Return `text` as important."""
    return Span(text, "strong")


def code(text: str) -> Span:
    """Return `text` as an identifier, a value or a command."""
    return Span(text, "code")


def note(text: str) -> Span:
    """Return `text` as a remark."""
    return Span(text, "note")


def link(text: str, href: str, style: Style = "plain") -> Span:
    """Return `text` as a link of a page."""
    return Span(text, style, href)


def figures(*names: str) -> tuple[Column, ...]:
    """Return columns of figures."""
    return tuple(Column(name, "figure") for name in names)


def spans(text: Text) -> Iterator[Span]:
    """Yield the pieces of a text, without control characters and without folders of the machine."""
    if isinstance(text, tuple):
        for part in text:
            yield from spans(part)
    else:
        span = Span(text) if isinstance(text, str) else text
        yield Span(visible(span.text), span.style, span.href)
