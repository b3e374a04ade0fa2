"""The leaderboard as a document: in the terminal, as Markdown, and on a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from crm_assets.reporting.comparison.power import ALPHA
from crm_assets.reporting.comparison.wording import difference, p_value
from crm_assets.reporting.document import (
    Block,
    Cell,
    Column,
    Document,
    Figure,
    Points,
    Section,
    Span,
    Table,
    Text,
    code,
    figures,
    note,
    strong,
)
from crm_assets.reporting.formats import counted, dollars, interval, number, percent
from crm_assets.reporting.leaderboard.models import Board, BoardPair, BoardSystem

__all__ = ["board_blocks", "board_document", "board_headline"]

_MOST_APART: Final = 20
_MEASURE: Final = "strict_success"


def board_document(board: Board, picture: Figure | None = None) -> Document:
    """Return the whole page.

    Args:
        board: what it shows.
        picture: cost beside quality.
    """
    title = ("Leaderboard of ", *_joined([code(name) for name in board.datasets]))
    return Document(title, tuple(_lead(board)), tuple(_sections(board, picture)))


def board_blocks(board: Board) -> Iterator[Block]:
    """Yield what a terminal shows."""
    yield "\n".join(f"{system.label}  {system.name}" for system in board.systems)
    yield from _lead(board)
    yield _systems(board)
    yield from _pairs(board)


def board_headline(board: Board) -> str:
    """Return who is ahead, in a sentence."""
    first = [system for system in board.systems if system.rank == 1]
    on = f"on {counted(board.conversations, 'conversation')}"
    if len(board.systems) == 1:
        return f"One system alone, {on}: nothing to compare it with."
    if len(first) == len(board.systems):
        return f"None of the {len(first):,} systems can be told apart from all others {on}."
    if len(first) == 1:
        return f"System {first[0].label} leads {on}; {_rest(board)}"
    labels = ", ".join(system.label for system in first)
    return f"Systems {labels} share rank 1 {on}; {_rest(board)}"


def _rest(board: Board) -> str:
    told = sum(1 for pair in board.pairs if _significant(pair))
    pairs = counted(len(board.pairs), "pair")
    return f"{told:,} of {pairs} can be told apart (Holm-adjusted p ≤ {ALPHA})."


def _joined(parts: Sequence[Text]) -> list[Text]:
    joined: list[Text] = []
    for part in parts:
        joined += [", ", part] if joined else [part]
    return joined


def _lead(board: Board) -> Iterator[Block]:
    yield strong(board_headline(board))
    if board.systems[1:]:
        yield note(
            "Rank: 1 plus the number of systems that are significantly better. Systems of one rank are "
            "tied, and their order says nothing."
        )


def _sections(board: Board, picture: Figure | None) -> Iterator[Section]:
    yield _systems(board)
    if picture is not None:
        yield Section("Cost beside quality", (picture,))
    yield from _pairs(board)
    yield _runs(board)
    if board.set_apart:
        shown = [(code(each.run), f": {each.reason}.") for each in board.set_apart[:_MOST_APART]]
        more = len(board.set_apart) - len(shown)
        points = Points((*shown, *([f"{more:,} more"] if more else [])))
        yield Section("Runs that are not on the board", (points,))


def _systems(board: Board) -> Section:
    several = len(board.datasets) > 1
    columns = (
        *figures("Rank"),
        Column("", "code"),
        Column("System", wide=True),
        *figures("Runs", "Strict success", "95% interval"),
        *(figures(*board.datasets) if several else ()),
        Column("Better than", wide=several),
        *figures("Cost", "Seconds"),
    )
    rows = (_row(system, several=several) for system in board.systems)
    title = f"Systems, over {counted(board.conversations, 'conversation')}"
    about = "Cost and seconds: of a conversation, means over the runs."
    return Section(title, (Table.of(columns, rows, sortable=True), note(about)))


def _row(system: BoardSystem, *, several: bool) -> tuple[Cell, ...]:
    return (
        system.rank,
        system.label,
        system.name,
        len(system.runs),
        percent(system.strict_success),
        interval(system.strict_success),
        *((percent(each.strict_success) for each in system.by_dataset) if several else ()),
        ", ".join(system.better_than) or None,
        dollars(system.cost_usd),
        number(system.seconds, 1),
    )


def _pairs(board: Board) -> Iterator[Section]:
    if not board.pairs:
        return
    columns = (
        Column("Pair", "code"),
        *figures("Difference", "95% interval", "n", "p", "adjusted p"),
    )
    rows = (
        (
            f"{pair.b} − {pair.a}",
            _difference(pair),
            _interval(pair),
            pair.conversations,
            p_value(pair.p_value),
            p_value(pair.adjusted_p_value),
        )
        for pair in board.pairs
    )
    about = note(f"In strict success, paired by conversation; adjusted by Holm’s method. * p ≤ {ALPHA}.")
    yield Section("Differences", (Table.of(columns, rows, sortable=True), about))


def _difference(pair: BoardPair) -> Text:
    text = difference(_MEASURE, pair.difference)
    if pair.difference is None or not _significant(pair):
        return text
    return Span(f"{text}*", "good" if pair.difference > 0 else "bad")


def _interval(pair: BoardPair) -> str | None:
    if pair.low is None or pair.high is None:
        return None
    return f"{difference(_MEASURE, pair.low)} to {difference(_MEASURE, pair.high)}"


def _significant(pair: BoardPair) -> bool:
    return pair.adjusted_p_value is not None and pair.adjusted_p_value <= ALPHA


def _runs(board: Board) -> Section:
    items = tuple(
        (code(system.label), f" {system.name}: ", ", ".join(system.runs)) for system in board.systems
    )
    return Section("Runs of each system", (Points(items),))
