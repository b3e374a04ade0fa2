"""A comparison of many runs as a document: in the terminal, and on a page of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from crm_assets.reporting.comparison.matrix_models import ConversationRow, PairComparison, RunMatrix
from crm_assets.reporting.comparison.models import MEASURES, Measure
from crm_assets.reporting.comparison.notes import remembered
from crm_assets.reporting.comparison.power import ALPHA
from crm_assets.reporting.comparison.wording import (
    MEASURE_NAMES,
    describe_side,
    detectable,
    difference,
    interval,
    p_value,
    value,
)
from crm_assets.reporting.document import (
    Block,
    Cell,
    Column,
    Document,
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
from crm_assets.reporting.formats import NOTHING, counted, share

__all__ = ["matrix_blocks", "matrix_headline", "render_matrix_page"]

_MOST_PRINTED: Final = 20
_MOST_ON_PAGE: Final = 2000
_MARK: Final = "*"  # of a significant difference


def render_matrix_page(matrix: RunMatrix) -> str:
    """Return the comparison as an HTML page."""
    from crm_assets.reporting import html  # noqa: PLC0415  (heavy)

    return html.render(
        Document(
            title=f"{matrix.dataset}: {counted(len(matrix.runs), 'run')} compared",
            lead=tuple(_lead(matrix)),
            sections=(
                _runs(matrix),
                *_measures(matrix, ["strict_success"]),
                _conversations(matrix, _MOST_ON_PAGE),
                *_measures(matrix, (each for each in MEASURES if each != "strict_success")),
            ),
        )
    )


def matrix_blocks(matrix: RunMatrix) -> Iterator[Block]:
    """Yield what a terminal shows: strict success, and the first conversations that differ."""
    yield from _lead(matrix)
    yield _runs(matrix)
    yield from _measures(matrix, ["strict_success"])
    yield _conversations(matrix, _MOST_PRINTED, only_different=True)


def matrix_headline(matrix: RunMatrix) -> str:
    """Return the main result in a sentence."""
    pairs = matrix.by("strict_success")
    significant = sum(1 for pair in pairs if _significant(pair))
    verb = "differs" if significant == 1 else "differ"
    return (
        f"{significant:,} of {counted(len(pairs), 'pair')} of runs {verb} significantly in strict success "
        f"(Holm-adjusted p ≤ {ALPHA})."
    )


def _lead(matrix: RunMatrix) -> Iterator[Block]:
    yield "\n".join(f"{run.label}  {describe_side(run.side)}" for run in matrix.runs)
    yield strong(matrix_headline(matrix))
    if matrix.intersection:
        yield note("The dataset changed between the runs: only its unchanged conversations are compared.")
    for run in matrix.runs:
        yield from map(note, remembered(run.side))
    if matrix.set_apart:
        yield "Set apart, because these runs are not comparable with the first one:"
        yield Points(tuple((code(each.run), f": {each.reason}.") for each in matrix.set_apart))


def _runs(matrix: RunMatrix) -> Section:
    shown = [measure for measure in MEASURES if _known(matrix, measure)]
    columns = (
        Column("Label", "code"),
        Column("Run", "code"),
        *figures(*(MEASURE_NAMES[each] for each in shown)),
    )
    rows = (
        (
            run.label,
            run.side.run,
            *(value(each.measure, each.mean) for each in run.means if each.measure in shown),
        )
        for run in matrix.runs
    )
    title = f"Runs, over {counted(matrix.conversations, 'conversation')}"
    return Section(title, (Table.of(columns, rows, sortable=True),))


def _known(matrix: RunMatrix, measure: Measure) -> bool:
    """Return True for a measure that a run has; every turn correct is not repeated as strict success."""
    if measure == "turns_right" and {run.side.strict_success_formula for run in matrix.runs} == {"turns"}:
        return False
    return any(
        each.mean is not None for run in matrix.runs for each in run.means if each.measure == measure
    )


def _measures(matrix: RunMatrix, measures: Iterable[Measure]) -> Iterator[Section]:
    for measure in measures:
        if _known(matrix, measure):
            yield Section(
                f"Differences in {MEASURE_NAMES[measure].lower()}",
                (
                    _differences(matrix, measure),
                    note(
                        f"Row − column. {_MARK} p ≤ {ALPHA}, adjusted by Holm’s method over all "
                        f"{counted(len(matrix.by(measure)), 'pair')}."
                    ),
                    _pairs(matrix, measure),
                ),
            )


def _differences(matrix: RunMatrix, measure: Measure) -> Table:
    """Return the matrix: in each cell, what the row's run has more than the column's."""
    found: dict[tuple[str, str], Cell] = {}
    for pair in matrix.by(measure):
        ahead = pair.paired.difference
        for names, sign in (((pair.b, pair.a), 1), ((pair.a, pair.b), -1)):
            found[names] = _marked(measure, pair, None if ahead is None else sign * ahead)
    rows = (
        (run.label, *(found.get((run.side.run, other.side.run), "") for other in matrix.runs))
        for run in matrix.runs
    )
    return Table.of((Column("", "code"), *figures(*(run.label for run in matrix.runs))), rows)


def _marked(measure: Measure, pair: PairComparison, ahead: float | None) -> Text:
    text = difference(measure, ahead)
    if ahead is None or not _significant(pair):
        return text
    return Span(f"{text}{_MARK}", "good" if ahead > 0 else "bad")


def _significant(pair: PairComparison) -> bool:
    return pair.adjusted_p_value is not None and pair.adjusted_p_value <= ALPHA


def _pairs(matrix: RunMatrix, measure: Measure) -> Table:
    labels = {run.side.run: run.label for run in matrix.runs}
    columns = (
        Column("Pair", "code"),
        *figures("Difference", "95% interval", "better / worse", "n"),
        Column("p", "figure"),
        Column("adjusted p", "figure"),
        Column("Minimum detectable difference", "figure", wide=True),
    )
    rows = (
        (
            f"{labels[pair.b]} − {labels[pair.a]}",
            difference(measure, pair.paired.difference),
            interval(measure, pair.paired),
            f"{pair.paired.better:,}/{pair.paired.worse:,}",
            pair.paired.conversations,
            p_value(pair.paired.p_value),
            p_value(pair.adjusted_p_value),
            detectable(pair),
        )
        for pair in matrix.by(measure)
    )
    return Table.of(columns, rows, sortable=True)


def _conversations(matrix: RunMatrix, most: int, *, only_different: bool = False) -> Section:
    """Return the conversation × run heat map: those with different outcomes first."""
    differing = [row for row in matrix.outcomes if row.differs]
    alike = [] if only_different else [row for row in matrix.outcomes if not row.differs]
    shown = list(islice((*differing, *alike), most))
    total = len(differing) + len(alike)
    columns = (
        Column("Conversation", "code"),
        Column("Workflow", wide=True),
        Column("Complexity", wide=True),
        Column("Successful", "figure"),
        *(Column(run.label, "heat") for run in matrix.runs),
    )
    blocks: list[Block] = [
        f"{len(differing):,} of {counted(len(matrix.outcomes), 'conversation')} "
        f"{'has' if len(differing) == 1 else 'have'} different outcomes in these runs."
    ]
    if shown:
        blocks.append(Table.of(columns, map(_row, shown), sortable=True))
    if len(shown) < total:
        blocks.append(f"{len(shown):,} of {total:,} shown; all of them with --json.")
    return Section("Strict success by conversation and run", tuple(blocks))


def _row(row: ConversationRow) -> tuple[Cell, ...]:
    known = [outcome for outcome in row.outcomes if outcome is not None]
    successful = share(sum(known) / len(known)) if known else NOTHING
    return (row.conversation_id, row.workflow, row.complexity, successful, *map(_heat, row.outcomes))


def _heat(outcome: float | None) -> Text:
    if outcome is None:
        return note(NOTHING)
    if outcome in (0, 1):
        return Span("✓", "good") if outcome else Span("✗", "bad")
    return Span(share(outcome), "mixed")
