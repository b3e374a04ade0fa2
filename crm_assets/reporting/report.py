"""A baseline's report.html: its README with the pictures, in one file that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from crm_assets.reporting.models import Metrics
from crm_assets.reporting.plots import Drawing, inline_svg
from crm_assets.reporting.readme import render_readme

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["render_report"]

_SECTIONS: Mapping[str, str] = {
    "success_by_complexity": "By complexity",
    "success_by_workflow": "By workflow",
    "success_by_turn": "By turn",
    "failure_kinds": "Failure kinds",
    "cost_by_role": "Tokens and cost",
    "learning_curve": "Rewards and time",
}
"""The README's section that a picture belongs to; those of no section come at the end."""
_OTHER = "More pictures"
_NOT_WORDS = re.compile(r"[^a-z0-9]+")

# Nothing is fetched, and nothing runs: what a browser would have to be told if a text became markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --faint: #59636e; --rule: #d1d9e0;
  --link: #0969da; --code: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #9198a1;
  --rule: #3d444d; --link: #58a6ff; --code: #1c2129; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); }
a { color: var(--link); }
nav ol { columns: 14rem; padding-left: 1.5rem; margin: .5rem 0; }
code { font: .875em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--code);
  padding: .1em .3em; border-radius: .25em; overflow-wrap: break-word; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
th[scope=row] { font-weight: normal; }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1.25rem 0; }
figure svg { display: block; width: 100%; max-width: 45rem; height: auto; }
figcaption { color: var(--faint); font-size: .85rem; overflow-wrap: anywhere; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --rule: #bbb; --link: #000;
    --code: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .table { overflow: visible; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
""".strip()


def render_report(metrics: Metrics, revision: dict[str, Any] | None, drawings: Sequence[Drawing]) -> str:
    """The report of a baseline: an HTML document with everything in it.

    It says what the README says, in the same words, and shows `drawings` where they belong.

    Args:
        metrics: the baseline's figures.
        revision: the baseline's revision.json, as for the README.
        drawings: its pictures.

    Raises:
        InputError: `revision` is that of another state of the dataset.
    """
    parser = _parser()
    title, lead, sections = _split(parser.parse(render_readme(metrics, revision=revision)))

    def html(tokens: Sequence[Token]) -> str:
        return str(parser.renderer.render(tokens, parser.options, {}))

    unplaced = {drawing.name: drawing for drawing in drawings}
    contents = {}
    for heading, tokens in sections:
        _mark_up_tables(tokens, _anchor(heading))
        names = [name for name, owner in _SECTIONS.items() if owner == heading and name in unplaced]
        figures = [_figure(unplaced.pop(name)) for name in names]
        contents[heading] = "".join(figures) + _scrolling(html(tokens), _anchor(heading))
    if unplaced:
        contents[_OTHER] = "".join(map(_figure, unplaced.values()))
    return _page(html(title), plain_title=_text(title), lead=html(lead), contents=contents)


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    # The README has none of these, so whatever looks like one is text of a dataset or a model.
    return parser.disable(["autolink", "entity", "html_block", "html_inline", "image", "link", "reference"])


def _split(tokens: Sequence[Token]) -> tuple[list[Token], list[Token], list[tuple[str, list[Token]]]]:
    """The title's tokens, those before the first section, and each section's heading and tokens."""
    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    ends = [*starts[1:], len(tokens)]
    sections = [
        (tokens[start + 1].content, list(tokens[start + 3 : end]))
        for start, end in zip(starts, ends, strict=True)
    ]
    lead = list(tokens[3 : starts[0]]) if starts else list(tokens[3:])
    return list(tokens[1:2]), lead, sections


def _mark_up_tables(tokens: Sequence[Token], anchor: str) -> None:
    """Say what a screen reader needs: a table's name, and which cells are headers."""
    first_cell = False
    header: Token | None = None
    for token in tokens:
        if token.type in {"th_open", "td_open"} and token.attrs.pop("style", "") == "text-align:right":
            token.attrs["class"] = "number"
        if token.type == "table_open":
            token.attrs["aria-labelledby"] = anchor
        elif token.type == "th_open":
            token.attrs["scope"] = "col"
        elif token.type == "tr_open":
            first_cell = True
        elif token.type == "td_open" and first_cell:
            token.tag, token.attrs["scope"] = "th", "row"
            header, first_cell = token, False
        elif token.type == "td_close" and header is not None:
            token.tag, header = "th", None


def _figure(drawing: Drawing) -> str:
    caption = f"<figcaption>{escape(drawing.alt)}</figcaption>"
    return f'<figure id="{drawing.name}">\n{inline_svg(drawing)}\n{caption}\n</figure>\n'


def _scrolling(html: str, anchor: str) -> str:
    """Let wide tables scroll by themselves, by keyboard too, rather than the page."""
    region = f'<div class="table" role="group" tabindex="0" aria-labelledby="{anchor}">'
    return html.replace("<table", f"{region}\n<table").replace("</table>", "</table>\n</div>")


def _anchor(heading: str) -> str:
    return _NOT_WORDS.sub("-", heading.lower()).strip("-")


def _text(tokens: Sequence[Token]) -> str:
    return "".join(child.content for token in tokens for child in token.children or ())


def _page(title: str, *, plain_title: str, lead: str, contents: Mapping[str, str]) -> str:
    entries = [f'<li><a href="#{_anchor(name)}">{escape(name)}</a></li>' for name in contents]
    sections = [
        f'<section>\n<h2 id="{_anchor(name)}">{escape(name)}</h2>\n{content}</section>'
        for name, content in contents.items()
    ]
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(plain_title)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        "</head>",
        "<body>",
        f"<header>\n<h1>{title}</h1>\n{lead}</header>",
        f'<nav aria-label="Contents">\n<ol>\n{"".join(entries)}\n</ol>\n</nav>',
        "<main>",
        *sections,
        "</main>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"
