"""A comparison in the terminal, eighty columns wide if need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

from crm_assets.reporting.comparison.models import Comparison, Flip
from crm_assets.reporting.comparison.wording import (
    FIGURES,
    MEASURE_NAMES,
    TEST_NAMES,
    change_of,
    could_have_shown,
    counts_of_flips,
    describe_call,
    describe_side,
    fact_values,
    figures,
    headline,
    p_value,
    verdict_of,
)
from crm_assets.reporting.formats import counted, plain

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

__all__ = ["render_text"]

_TWO_LINES = {
    "better / worse": "better/\nworse",
    "adjusted p": "adjusted\np",
    "could show": "could\nshow",
}
_MOST_FLIPS = 10  # of those lost, of those gained, and of those whose end state alone changed


def render_text(comparison: Comparison) -> Iterator[RenderableType]:
    """What there is to print, piece by piece; the rest is in the JSON and on the page."""
    from rich.text import Text  # noqa: PLC0415

    yield Text(f"A  {describe_side(comparison.a)}\nB  {describe_side(comparison.b)}\n")
    yield Text("\n".join((headline(comparison), *(plain(note) for note in comparison.notes), "")))
    if comparison.provenance:
        rows = ((plain(change.fact), *fact_values(change)) for change in comparison.provenance)
        yield _table("What differs between the runs", ("", "A", "B"), rows, texts=3)
    yield _measures(comparison)
    yield _slices(comparison)
    yield _flips(comparison)


def _measures(comparison: Comparison) -> Group:
    shown = [each for each in comparison.measures if each.paired.conversations]
    tests = {TEST_NAMES[each.paired.test]: None for each in shown}
    rows = []
    for each in shown:
        name, compared = MEASURE_NAMES[each.measure], each.paired.conversations
        if compared < comparison.conversations:
            name += f" (of {compared:,})"
        rows.append((name, *figures(each), p_value(each.paired.p_value), could_have_shown(each)))
    count = counted(comparison.conversations, "conversation")
    title = f"{count} of {comparison.dataset} (p: {', '.join(tests)})"
    return _table(title, ("", *FIGURES, "p", "could show"), rows)


def _slices(comparison: Comparison) -> Group:
    rows = (
        (
            plain(each.name),
            *figures(each),
            f"{each.paired.conversations:,}",
            p_value(each.adjusted_p_value),
        )
        for each in comparison.slices
        if each.measure == "strict_success"
    )
    return _table("Strict success by workflow and complexity", ("", *FIGURES, "of", "adjusted p"), rows)


def _flips(comparison: Comparison) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    flips = [
        flip
        for change in ("lost", "gained", None)
        for flip in islice((f for f in comparison.flips if f.strict_success == change), _MOST_FLIPS)
    ]
    # A line for each call, cut rather than wrapped: the page has all of it.
    parts = [Text(_describe(flip), no_wrap=True, overflow="ellipsis") for flip in flips]
    if len(flips) < len(comparison.flips):
        count = f"{len(flips)} of {len(comparison.flips):,}"
        parts.append(Text(f"\n{count} shown; all of them with --html or --json."))
    return Group(Text(counts_of_flips(comparison)), *parts)


def _describe(flip: Flip) -> str:
    """Where the two sessions first part."""
    title = f"\n{change_of(flip)}: {plain(flip.conversation_id)}"
    turn = next((each for each in flip.turns if each.turn_id == flip.first_differing_turn), None)
    if turn is None:
        return f"{title}, with the same calls and verdicts"
    lines = [f"{title}, turn {turn.turn_id}, expected {plain(turn.expected_tool or 'no call')}"]
    for name, call in (("A", turn.a), ("B", turn.b)):
        lines.append(
            f"  {name} {verdict_of(call)}: {describe_call(call)}" if call else f"  {name} not reached"
        )
    return "\n".join(lines)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Group:
    """A table whose first `texts` columns may wrap, and whose figures may not."""
    from rich import box  # noqa: PLC0415
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, name in enumerate(header):
        figure = index >= texts
        side: Literal["left", "right"] = "right" if figure else "left"
        table.add_column(_TWO_LINES.get(name, name), justify=side, no_wrap=figure, overflow="fold")
    for row in rows:
        # Text, not str: names come from files, and rich would read [brackets] in them as markup.
        table.add_row(*map(Text, row))
    # Not the table's own title: that is wrapped to the table's width.
    return Group(Text(title, style="bold"), table)
