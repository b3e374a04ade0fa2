"""One document, three renderers: what is data stays data in each of them."""

from __future__ import annotations

import io
import os
import pty
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from crm_assets.reporting import html, markdown
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
    code,
    figures,
    note,
    spans,
    strong,
)
from crm_assets.reporting.terminal import show

TABLE = Table.of(
    (Column("Name"), Column("ID", "code"), *figures("n", "better / worse"), Column("More", wide=True)),
    [("a", "x_1", 1234, "3/4", "wide"), ("[b]", None, None, "10/20", "")],
)


def printed(*blocks: Block, width: int = 80) -> str:
    terminal = io.StringIO()
    show(*blocks, console=Console(width=width, file=terminal))
    return terminal.getvalue()


def page(*blocks: Block) -> str:
    return html.render(Document("T", (), (Section("S", blocks),)))


def test_cells_cannot_break_a_row() -> None:
    table = Table.of(
        (Column("A"), *figures("B")), [("x|y\nz", r"already \| escaped"), (code("p|`q"), "日本")]
    )
    assert markdown.render_blocks([table]).splitlines() == [
        r"| A       |                    B |",
        r"| ------- | -------------------: |",
        r"| x\|y z  | already \\\| escaped |",
        r"| `p\|'q` |                 日本 |",
    ]


def test_markup_is_escaped_and_names_stay_readable() -> None:
    assert markdown.escape("[x](y) `z` _em_ snake_case {{turn_1.id}} \\") == (
        r"\[x\](y) \`z\` \_em\_ snake_case {{turn_1.id}} \\"
    )


def test_numbers_and_missing_cells_look_the_same_everywhere() -> None:
    for text in (markdown.render_blocks([TABLE]), printed(TABLE), page(TABLE)):
        assert "1,234" in text
        assert "–" in text
    assert "| `x_1` |" in markdown.render_blocks([TABLE])
    assert '<td class="code"><code>x_1</code></td>' in page(TABLE)
    assert '<td class="code">–</td>' in page(TABLE), "a missing value is no code"


def test_a_row_of_another_length_is_a_bug_and_not_a_gap() -> None:
    with pytest.raises(ValueError, match="zip"):
        printed(Table.of(figures("a", "b"), [(1,)]))


def test_a_terminal_leaves_wide_columns_out_and_breaks_names_of_figures() -> None:
    text = printed(TABLE)
    assert "wide" not in text and "More" not in text
    assert "better/" in text and "better / worse" not in text
    assert "[b]" in text, "a name, not markup"
    assert "wide" in markdown.render_blocks([TABLE]) and "wide" in page(TABLE)


KEYS = ("20260131T093000Z", "20260131T093000Z-with-a-label-of-some-length")
AGENT = "crm-student (openai/gpt-4.1-mini), Atlas loop"


def runs() -> Table:
    columns = (Column("Run", "code"), Column("State"), Column("Agent"), *figures("Strict success", "Cost"))
    return Table.of(columns, [(key, "finished", AGENT, "40.0%", "$1.2000") for key in KEYS])


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_keys_and_names_are_whole_however_narrow_the_terminal_is(width: int) -> None:
    lines = printed(runs(), width=width).splitlines()
    assert max(map(len, lines)) <= width
    for key in KEYS:
        assert sum(line.split()[:1] == [key] for line in lines) == 1
    assert sum("(openai/gpt-4.1-mini)," in line for line in lines) == 2


def test_a_table_that_does_not_fit_is_written_row_by_row_with_its_names() -> None:
    assert printed(runs(), width=80).splitlines()[1:4] == [
        KEYS[0],
        f"    State finished  Agent {AGENT}",
        "    Strict success 40.0%  Cost $1.2000",
    ]


def test_texts_share_the_room_that_keys_and_figures_leave() -> None:
    columns = (Column("Key", "code"), Column("Short"), Column("Long"))
    text = printed(Table.of(columns, [("k" * 20, "a b c", "word " * 12)]), width=60)
    assert f" {'k' * 20}  a b c  word word word word word word\n" in text


def test_a_hash_that_does_not_fit_beside_its_name_stands_below_it() -> None:
    pairs = Table.pairs([("sha256", "f" * 64), ("file", "a.jsonl")])
    assert printed(pairs, width=70) == f"  sha256\n    {'f' * 64}\n  file    a.jsonl\n"


@pytest.mark.parametrize(("rows", "pages"), [(200, 1), (3, 0)])
def test_what_is_longer_than_the_terminal_goes_to_a_pager(
    rows: int, pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged = tmp_path / "paged"
    monkeypatch.setenv("PAGER", f"cat >> {paged}; echo page >> {paged}")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    script = (
        "from crm_assets.reporting.document import Column, Table\n"
        "from crm_assets.reporting.terminal import show\n"
        f"show(Table.of((Column('N'),), [(str(n),) for n in range({rows})]))"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    with suppress(OSError):  # how Linux says that the other end is closed
        while os.read(terminal, 4096):
            pass
    assert os.waitpid(process, 0)[1] == 0
    text = paged.read_text() if paged.exists() else ""
    assert text.count("page") == pages
    assert f" {rows - 1}\n" in text or not pages


def test_a_table_without_a_header_is_a_list_of_names_and_values() -> None:
    pairs = Table.pairs([("file", "a.jsonl"), ("turns", 3)])
    lines = [line.rstrip() for line in printed(pairs).splitlines()]
    assert lines == ["  file   a.jsonl", "  turns  3"]
    assert "<thead>" not in page(pairs)


def test_sections_lists_and_details() -> None:
    blocks: tuple[Block, ...] = (
        Points(("one", Point(("two ", strong("b")), ("below",)))),
        Section("Inner", (Details(("more ", code("x")), ("hidden",)),)),
    )
    document = Document(("Title ", code("d")), ("lead",), (Section("Outer", blocks),))
    assert markdown.render(document) == (
        "# Title `d`\n\nlead\n\n## Outer\n\n- one\n- two **b**\n  - below\n\n"
        "### Inner\n\nmore `x`\n\nhidden\n"
    )
    written = html.render(document)
    assert "<title>Title d</title>" in written
    assert '<h3 id="inner">Inner</h3>' in written
    assert "<summary>more <code>x</code></summary>" in written
    assert "<li>two <strong>b</strong><ul>\n<li>below</li>\n</ul>\n</li>" in written
    assert printed(*document.sections).split("\n")[:5] == ["", "Outer", "- one", "- two b", "  - below"]


def test_lines_stay_lines_where_there_are_lines() -> None:
    text = (Span("yes", "good"), "\n", code('{\n  "a": 1\n}'))
    assert '<p><span class="good">yes</span><br><code>{\n  &quot;a&quot;: 1\n}</code></p>' in page(text)
    assert printed(text) == 'yes\n{\n  "a": 1\n}\n'
    assert markdown.render_blocks([text]) == 'yes `{ "a": 1 }`'


def test_what_is_cut_ends_at_the_terminals_edge() -> None:
    assert printed(Span("x" * 30 + "\nshort", "cut"), width=20) == "x" * 19 + "…\nshort\n"


def test_a_figure_is_inline_on_a_page_and_a_link_beside_it() -> None:
    figure = Figure("f", "A [b] & c", svg="<svg></svg>", path="plots/f.svg")
    assert markdown.render_blocks([figure]) == r"![A \[b\] & c](plots/f.svg)"
    assert '<figure id="f">\n<svg></svg>\n<figcaption>A [b] &amp; c</figcaption>' in page(figure)


def test_no_text_becomes_markup_and_no_folder_is_shown() -> None:
    hostile = "<b>&amp;</b> /home/zoe/x \x1b[31m"
    for text in (strong(hostile), code(hostile), note(hostile), Span(hostile), hostile):
        written = page(text, Points((text,)), Table.of((Column("A"),), [(text,)]), Details(text, ()))
        assert "<b>" not in written and "\x1b" not in written and "zoe" not in written
        assert written.count("&lt;b&gt;&amp;amp;&lt;/b&gt; …/x") == 4
    assert [span.text for span in spans(hostile)] == ["<b>&amp;</b> …/x  [31m"]
