"""Documents as one HTML file that needs nothing else, with no script but for tables that can be sorted."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.reporting.document import Block, Details, Document, Section, Span, Table, Text, spans

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"
_NOT_WORDS = re.compile(r"[^a-z0-9]+")


def render(document: Document) -> str:
    """Return a page: light or dark as the reader has it, fit for paper, with a table of contents."""
    script = (_TEMPLATES / "sort.js").read_text() if any(map(_sorts, document.sections)) else ""
    style = (_TEMPLATES / "page.css").read_text().strip()
    return _template().render(document=document, style=style, script=script)


def _sorts(block: Block) -> bool:
    """Return True if a block holds a table that can be sorted."""
    if isinstance(block, Table):
        return block.sortable
    return isinstance(block, Section | Details) and any(map(_sorts, block.blocks))


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  (heavy)

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "anchor": _anchor,
        "inline": _inline,
        "plain": _plain,
        "source_hash": _source_hash,
    }
    return environment.get_template("page.html.jinja")


def _anchor(section: Section) -> str:
    """Return the ID of a section's heading."""
    return _NOT_WORDS.sub("-", section.title.lower()).strip("-")


def _inline(text: Text) -> str:
    """Return a text as markup, escaped; its line ends are kept."""
    return "".join(map(_span, spans(text)))


def _span(span: Span) -> str:
    text = _styled(span)
    return f'<a href="{escape(span.href)}">{text}</a>' if span.href else text


def _styled(span: Span) -> str:
    text = escape(span.text)
    if span.style == "code":
        return f"<code>{text}</code>"  # the style sheet keeps its lines
    text = text.replace("\n", "<br>")
    if span.style == "strong":
        return f"<strong>{text}</strong>"
    return text if span.style in ("plain", "cut") else f'<span class="{span.style}">{text}</span>'


def _plain(text: Text) -> str:
    """Return a text without its styles."""
    return "".join(span.text for span in spans(text))


def _source_hash(script: str) -> str:
    """Return the hash by which a page's policy allows a script (W3C, Content Security Policy 3, §2.3.1)."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"
