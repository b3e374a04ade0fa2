"""A comparison as a document: in the terminal, on a page of its own, and on the history's page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import orjson

from crm_assets.reporting import markdown
from crm_assets.reporting.comparison.models import (
    ComparedCall,
    Comparison,
    Flip,
    Measure,
    PromptChange,
    SliceComparison,
    TurnPair,
)
from crm_assets.reporting.comparison.wording import (
    FIGURES,
    MEASURE_NAMES,
    TEST_NAMES,
    change_of,
    counts_of_flips,
    describe_call,
    describe_side,
    detectable,
    fact_values,
    figures,
    headline,
    p_value,
    verdict_of,
)
from crm_assets.reporting.document import (
    Block,
    Cell,
    Column,
    Details,
    Document,
    Section,
    Span,
    Style,
    Table,
    Text,
    code,
    link,
    note,
    strong,
)
from crm_assets.reporting.formats import counted, plain
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.transcripts import transcripts_url

__all__ = ["comparison_blocks", "comparison_summary", "render_markdown", "render_page"]

_MOST_FLIPS = 10  # of those lost, of those gained, and of those whose end state alone changed
_DETECTABLE = Column("Minimum detectable difference", "figure")


def render_page(comparison: Comparison) -> str:
    """Return the comparison as an HTML page with everything in it."""
    from crm_assets.reporting import html  # noqa: PLC0415  (heavy)

    measures = [measure for measure in MEASURE_NAMES if any(_slices_of(comparison, measure))]
    title = f"{comparison.dataset}: {comparison.b.run} compared with {comparison.a.run}"
    return html.render(
        Document(
            title=title,
            lead=tuple(_lead(comparison)),
            sections=(
                _settings(comparison),
                *_prompts(comparison),
                _measures(comparison),
                Section(
                    "By workflow and complexity",
                    (
                        *(Section(MEASURE_NAMES[each], (_slices(comparison, each),)) for each in measures),
                        note("Adjusted p: Holm’s method over all workflows and complexities of a measure."),
                    ),
                ),
                Section(
                    "Changed outcomes",
                    (
                        counts_of_flips(comparison),
                        *(_flip(flip, comparison) for flip in comparison.flips),
                        *_left_out(comparison, len(comparison.flips)),
                    ),
                ),
            ),
        )
    )


def comparison_blocks(comparison: Comparison) -> Iterator[Block]:
    """Yield what a terminal shows; the rest is in the JSON and on the page."""
    yield from _lead(comparison)
    yield _settings(comparison)
    yield from _prompts(comparison)
    yield _measures(comparison)
    main = comparison.main_measure
    yield Section(f"{MEASURE_NAMES[main]} by workflow and complexity", (_slices(comparison, main),))
    shown = [
        flip
        for change in ("lost", "gained", None)
        for flip in islice((f for f in comparison.flips if f.strict_success == change), _MOST_FLIPS)
    ]
    yield Section("Changed outcomes", (counts_of_flips(comparison), *map(_first_difference, shown)))
    yield from _left_out(comparison, len(shown))


def _left_out(comparison: Comparison, shown: int) -> Iterator[Text]:
    """Yield how many of the changed conversations are shown, if not all."""
    listed, total = len(comparison.flips), comparison.changes.total
    if shown < listed:
        more = "all" if listed == total else f"{listed:,}"
        yield f"\n{shown:,} of {total:,} shown; {more} of them with --html or --json."
    elif listed < total:
        yield (
            f"{listed:,} of {total:,} shown: the first, by ID, of those lost, of those gained, and of "
            "those whose end state alone changed."
        )


def comparison_summary(comparison: Comparison) -> tuple[Block, ...]:
    """Return the comparison in short: without workflows, and without the conversations that changed."""
    a, b = comparison.a.run, comparison.b.run
    return (
        ("A is ", code(a), ", B is ", code(b), "."),
        strong(headline(comparison)),
        *comparison.notes,
        _measures_table(comparison),
        (
            f"{counts_of_flips(comparison)} Details: ",
            code(f"crm-assets compare {comparison.dataset} {a} {b}"),
            ".",
        ),
    )


def render_markdown(comparison: Comparison) -> str:
    """Return the comparison in short, as Markdown."""
    return markdown.render_blocks(comparison_summary(comparison))


def _lead(comparison: Comparison) -> Iterator[Text]:
    yield f"A  {describe_side(comparison.a)}\nB  {describe_side(comparison.b)}"
    yield strong(headline(comparison))
    yield from map(note, comparison.notes)


def _settings(comparison: Comparison) -> Section:
    rows = [(change.fact, *fact_values(change)) for change in comparison.provenance]
    table = Table.of((Column("Setting"), Column("A"), Column("B")), rows)
    return Section("Changed settings", (table if rows else "No recorded setting changed.",))


def _prompts(comparison: Comparison) -> Iterator[Section]:
    """Yield what roles were told differently, if anything."""
    changes = comparison.prompts
    if changes:
        rows = ((f"{each.role.replace('_', ' ')}: {each.what}", _diff(each)) for each in changes)
        yield Section("Changed prompts (− A, + B)", (Table.pairs(rows),))


def _diff(change: PromptChange) -> Text:
    styles: dict[str, Style] = {"-": "bad", "+": "good", "@": "note"}
    lines = (Span(plain(line), styles.get(line[:1], "plain")) for line in change.difference.splitlines())
    return tuple(_between(lines, "\n"))


def _measures(comparison: Comparison) -> Section:
    tests = {
        TEST_NAMES[each.paired.test]: None for each in comparison.measures if each.paired.conversations
    }
    meaning = (
        "Differences of shares are in percentage points. Better / worse: conversations in which B did "
        f"better or worse. p: {', '.join(tests)}. Minimum detectable difference: the smallest true "
        "difference that 80% of comparisons of this many conversations find. Intervals: "
        f"{comparison.resamples:,} resamples, seed {comparison.seed}."
    )
    title = f"{counted(comparison.conversations, 'conversation')} compared"
    return Section(title, (_measures_table(comparison), note(meaning)))


def _measures_table(comparison: Comparison) -> Table:
    rows: list[tuple[Cell, ...]] = []
    formulas = {side.strict_success_formula for side in (comparison.a, comparison.b)}
    for each in comparison.measures:
        if each.measure == "turns_right" and formulas == {"turns"}:
            continue  # strict success itself
        name, compared = MEASURE_NAMES[each.measure], each.paired.conversations
        if compared < comparison.conversations:
            name += f" (of {compared:,})"
        if compared:
            p = p_value(each.paired.p_value)
            rows.append((name, *figures(each), p, TEST_NAMES[each.paired.test], detectable(each)))
    columns = (Column("Measure"), *FIGURES, Column("p", "figure"), Column("Test", wide=True), _DETECTABLE)
    return Table.of(columns, rows)


def _slices_of(comparison: Comparison, measure: Measure) -> Iterator[SliceComparison]:
    return (each for each in comparison.slices if each.measure == measure)


def _slices(comparison: Comparison, measure: Measure) -> Table:
    columns = (
        Column("Workflow or complexity"),
        *FIGURES,
        Column("n", "figure"),
        Column("p", "figure", wide=True),
        Column("adjusted p", "figure"),
        Column(_DETECTABLE.name, "figure", wide=True),
    )
    rows = (
        (
            each.name,
            *figures(each),
            each.paired.conversations,
            p_value(each.paired.p_value),
            p_value(each.adjusted_p_value),
            detectable(each),
        )
        for each in _slices_of(comparison, measure)
    )
    return Table.of(columns, rows)


def _flip(flip: Flip, comparison: Comparison) -> Details:
    sides = ((comparison.a.run, flip.epoch_a), (comparison.b.run, flip.epoch_b))
    a, b = (
        transcripts_url(BaselineKey.of(comparison.dataset, run), flip.conversation_id, epoch)
        for run, epoch in sides
    )
    first = flip.first_differing_turn
    where = f", first difference in turn {first}" if first else ", same calls"
    epochs = "" if flip.epoch_a == flip.epoch_b == 1 else f", epochs {flip.epoch_a} and {flip.epoch_b}"
    style: Style = "good" if "gained" in (flip.strict_success or flip.state_match or "") else "bad"
    return Details(
        (
            Span(change_of(flip), style),
            " ",
            strong(flip.conversation_id),
            note(f" {flip.workflow}, {flip.complexity}{where}{epochs}"),
        ),
        (
            Table.of(
                (
                    Column("Turn", "figure"),
                    Column("User"),
                    Column("Expected", "code"),
                    Column("A"),
                    Column("B"),
                ),
                (_turn(turn, first=turn.turn_id == first) for turn in flip.turns),
            ),
            (
                *("Transcripts, while ", code("crm-assets view"), " runs: "),
                *(link("A", a), ", ", link("B", b), "."),
            ),
        ),
    )


def _turn(turn: TurnPair, *, first: bool) -> tuple[Cell, ...]:
    number = f"{'▶ ' if first else ''}{turn.turn_id}"
    user: Text = turn.user_utterance
    if turn.further_calls_differ:
        user = (user, "\n", note("The runs’ further calls in this turn differ."))
    return number, user, turn.expected_tool, _call(turn.a), _call(turn.b)


def _call(call: ComparedCall | None) -> Text:
    if call is None:
        return "not reached"
    style: Style = "plain" if call.success is None else "good" if call.success else "bad"
    lines: list[Text] = [Span(verdict_of(call), style)]
    if call.tool is None:
        lines.append("no call")
    else:
        lines.append(
            code(f"{call.tool} {orjson.dumps(call.arguments, option=orjson.OPT_INDENT_2).decode()}")
        )
    if call.error:
        lines.append(note(f"rejected: {call.error}"))
    if call.reply:
        lines.append(f"“{call.reply}”")
    return tuple(_between(lines, "\n"))


def _between(texts: Iterable[Text], separator: str) -> Iterator[Text]:
    for index, text in enumerate(texts):
        if index:
            yield separator
        yield text


def _first_difference(flip: Flip) -> Span:
    """Return where the two sessions first differ; cut, since the page has all of it."""
    title = f"\n{change_of(flip)}: {plain(flip.conversation_id)}"
    turn = next((each for each in flip.turns if each.turn_id == flip.first_differing_turn), None)
    if turn is None:
        return Span(f"{title}, with the same calls and verdicts", "cut")
    further = ", further calls differ" if turn.further_calls_differ else ""
    lines = [f"{title}, turn {turn.turn_id}, expected {plain(turn.expected_tool or 'no call')}{further}"]
    for name, call in (("A", turn.a), ("B", turn.b)):
        what = f"{verdict_of(call)}: {describe_call(call)}" if call else "not reached"
        lines.append(f"  {name} {what}")
    return Span("\n".join(lines), "cut")
