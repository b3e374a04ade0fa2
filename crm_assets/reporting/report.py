"""A baseline's report.html: its README with the pictures, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from crm_assets.reporting import html
from crm_assets.reporting.document import Document, Figure, Section, Table, Text, code, link
from crm_assets.reporting.judge_page import JUDGES_TITLE
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.plots import Drawing, inline_svg
from crm_assets.reporting.readme import baseline_document
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.transcripts import transcripts_url, viewer_place

__all__ = ["render_report"]

_PICTURES: Mapping[str, str] = {
    "success_by_complexity": "By complexity",
    "success_by_workflow": "By workflow",
    "success_by_turn": "By turn",
    "failure_kinds": "Failure kinds",
    "cost_by_role": "Tokens and cost",
    "learning_curve": "Rewards and time",
    "calibration": JUDGES_TITLE,
}
"""The section of the report that a picture belongs to; the others come at the end."""


def render_report(
    metrics: Metrics,
    revision: Mapping[str, Any] | None,
    drawings: Sequence[Drawing],
    *,
    baseline: BaselineKey | None = None,
    bundled: str | None = None,
) -> str:
    """Return the report of a baseline: its README as one HTML page, pictures where they belong.

    Args:
        metrics: the baseline's figures.
        revision: the baseline's revision.json, as for the README.
        drawings: its pictures.
        baseline: the baseline, whose transcripts the page links to; None for a run that is no baseline.
        bundled: name of its log in a viewer of static files beside the page; None links to the server of
            `crm-assets view`.

    Raises:
        InputError: `revision` is of another state of the dataset.
    """
    pictures = {each.name: Figure(each.name, each.caption, inline_svg(each)) for each in drawings}
    page = baseline_document(metrics, revision or {})
    sections = []
    for section in page.sections:
        names = [name for name, title in _PICTURES.items() if title == section.title and name in pictures]
        sections.append(Section(section.title, (*(pictures.pop(name) for name in names), *section.blocks)))
    if pictures:
        sections.append(Section("More pictures", tuple(pictures.values())))
    lead = page.lead
    if baseline is not None:
        address = partial(_beside, bundled) if bundled else partial(transcripts_url, baseline)
        lead = (*lead, _transcripts(address(None), on_server=bundled is None))
        sections = [_linked(section, address) for section in sections]
    return html.render(Document(page.title, lead, tuple(sections)))


def _beside(log: str, conversation: str | None) -> str:
    """Return the address of a log, or of a conversation in it, in the viewer beside the page."""
    return f"index.html{viewer_place(log, conversation)}"


def _transcripts(address: str, *, on_server: bool) -> Text:
    what = "Transcripts of all conversations, to be filtered by workflow, failure and scores"
    if not on_server:
        return (link(what, address), ".")
    commands = code("crm-assets view"), " or ", code("crm-assets ui")
    return (
        f"{what}: ",
        link(address, address),
        *(", while ", *commands, " runs on the machine that has the baseline."),
    )


def _linked(section: Section, address: Callable[[str], str]) -> Section:
    """Return a section whose tables link each conversation to its transcript."""
    blocks = (_linked_table(each, address) if isinstance(each, Table) else each for each in section.blocks)
    return Section(section.title, tuple(blocks))


def _linked_table(table: Table, address: Callable[[str], str]) -> Table:
    names = [column.name for column in table.columns]
    if "Conversation" not in names:
        return table
    place = names.index("Conversation")
    rows = (
        tuple(
            link(cell, address(cell), "code") if number == place and isinstance(cell, str) else cell
            for number, cell in enumerate(row)
        )
        for row in table.rows
    )
    return replace(table, rows=tuple(rows))
