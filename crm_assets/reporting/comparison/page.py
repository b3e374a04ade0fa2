"""A comparison as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import orjson

from crm_assets.reporting.comparison.models import Call, Comparison, Flip, SliceComparison, TurnPair
from crm_assets.reporting.comparison.wording import (
    FIGURES,
    MEASURE_NAMES,
    TEST_NAMES,
    change_of,
    could_have_shown,
    counts_of_flips,
    describe_side,
    fact_values,
    figures,
    headline,
    p_value,
    verdict_of,
)
from crm_assets.reporting.formats import counted, plain

__all__ = ["render_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bad: #b3261e; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #6fdd8b; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.says { font-size: 1.1rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: right; }
td { vertical-align: top; }
th { white-space: nowrap; }
th:first-child, td:first-child, .turns th, .turns td, .left th, .left td { text-align: left; }
.turns td { overflow-wrap: anywhere; } .turns tr.first { background: var(--soft); }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; } summary { cursor: pointer; }
code { font: 13px/1.4 ui-monospace, monospace; white-space: pre-wrap; }
.lost, .wrong { color: var(--bad); } .gained, .right { color: var(--good); }
.note { opacity: .8; }
@media print { details > * { display: block; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(comparison: Comparison) -> str:
    """The page: everything that the comparison holds, light or dark as the reader has it."""
    title = f"{comparison.dataset}: {comparison.b.run} against {comparison.a.run}"
    parts = (
        f"<h1>{_text(title)}</h1>",
        f"<p>A&ensp;{_text(describe_side(comparison.a))}<br>B&ensp;{_text(describe_side(comparison.b))}</p>",
        f'<p class="says">{_text(headline(comparison))}</p>',
        "".join(f'<p class="note">{_text(note)}</p>' for note in comparison.notes),
        _provenance(comparison),
        _measures(comparison),
        _slices(comparison),
        _flips(comparison),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _provenance(comparison: Comparison) -> str:
    heading = "<h2>What differs between the runs</h2>"
    if not comparison.provenance:
        return f"{heading}<p>Nothing that their sessions tell.</p>"
    rows = [(plain(change.fact), *fact_values(change)) for change in comparison.provenance]
    return heading + _table(("What", "A", "B"), rows, style="left")


def _measures(comparison: Comparison) -> str:
    rows = [
        (
            MEASURE_NAMES[each.measure],
            *figures(each),
            f"{each.paired.conversations:,}",
            p_value(each.paired.p_value),
            TEST_NAMES[each.paired.test],
            could_have_shown(each),
        )
        for each in comparison.measures
        if each.paired.conversations
    ]
    return (
        f"<h2>{counted(comparison.conversations, 'conversation')} compared</h2>"
        + _table(("Measure", *FIGURES, "of", "p", "test", "could have shown"), rows)
        + '<p class="note">Shares differ in percentage points. “better / worse”: conversations in which B '
        "did better or worse. “could have shown”: the smallest true difference that a comparison of so "
        f"many conversations finds four times in five. Intervals from {comparison.resamples:,} draws, seed "
        f"{comparison.seed}.</p>"
    )


def _slices(comparison: Comparison) -> str:
    parts = ["<h2>By workflow and complexity</h2>"]
    for measure, name in MEASURE_NAMES.items():
        slices = [each for each in comparison.slices if each.measure == measure]
        if slices:
            header = ("Slice", *FIGURES, "of", "p", "adjusted p", "could have shown")
            parts.append(f"<h3>{_text(name)}</h3>{_table(header, map(_slice_row, slices))}")
    parts.append('<p class="note">Adjusted p: Holm’s method over all slices of a measure.</p>')
    return "".join(parts)


def _slice_row(each: SliceComparison) -> tuple[str, ...]:
    return (
        plain(each.name),
        *figures(each),
        f"{each.paired.conversations:,}",
        p_value(each.paired.p_value),
        p_value(each.adjusted_p_value),
        could_have_shown(each),
    )


def _flips(comparison: Comparison) -> str:
    flips = "".join(_flip(flip) for flip in comparison.flips)
    return f"<h2>What flipped</h2><p>{_text(counts_of_flips(comparison))}</p>{flips}"


def _flip(flip: Flip) -> str:
    style = flip.strict_success or flip.state_match or ""
    where = (
        f", first different in turn {flip.first_differing_turn}"
        if flip.first_differing_turn
        else ", same calls"
    )
    epochs = "" if flip.epoch_a == flip.epoch_b == 1 else f", epochs {flip.epoch_a} and {flip.epoch_b}"
    about = plain(f"{flip.workflow}, {flip.complexity}{where}{epochs}")
    header = "".join(f"<th>{name}</th>" for name in ("Turn", "User", "Expected", "A", "B"))
    rows = "".join(_turn(turn, first=turn.turn_id == flip.first_differing_turn) for turn in flip.turns)
    return (
        f'<details><summary><span class="{style}">{_text(change_of(flip))}</span> '
        f"<b>{_text(plain(flip.conversation_id))}</b> <span class='note'>{_text(about)}</span></summary>"
        f'<div class="wide"><table class="turns"><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>\n"
    )


def _turn(turn: TurnPair, *, first: bool) -> str:
    cells = (
        f"{'▶ ' if first else ''}{turn.turn_id}",
        _text(plain(turn.user_utterance)),
        f"<code>{_text(plain(turn.expected_tool or ''))}</code>",
        _call(turn.a),
        _call(turn.b),
    )
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="first">{row}</tr>' if first else f"<tr>{row}</tr>"


def _call(call: Call | None) -> str:
    if call is None:
        return "not reached"
    style = {True: "right", False: "wrong", None: ""}[call.success]
    lines = [f'<span class="{style}">{_text(verdict_of(call))}</span>']
    if call.tool is None:
        lines.append("no call")
    else:
        arguments = orjson.dumps(call.arguments, option=orjson.OPT_INDENT_2).decode()
        lines.append(f"<code>{_text(call.tool)} {_text(arguments)}</code>")
    if call.error:
        lines.append(f'<span class="note">refused: {_text(plain(call.error))}</span>')
    if call.reply:
        lines.append(f"“{_text(plain(call.reply))}”")
    return "<br>".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "figures") -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{style}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _text(text: str) -> str:
    """Text, and never markup: names, calls and replies come from datasets and models."""
    return escape(text)
