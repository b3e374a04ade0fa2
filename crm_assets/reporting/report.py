"""A baseline's report.html: its README with the pictures, in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crm_assets.reporting import html
from crm_assets.reporting.document import Document, Figure, Section
from crm_assets.reporting.judge_page import JUDGES_TITLE
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.plots import Drawing, inline_svg
from crm_assets.reporting.readme import baseline_document

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


def render_report(metrics: Metrics, revision: Mapping[str, Any] | None, drawings: Sequence[Drawing]) -> str:
    """Return the report of a baseline: its README as one HTML page, pictures where they belong.

    Args:
        metrics: the baseline's figures.
        revision: the baseline's revision.json, as for the README.
        drawings: its pictures.

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
    return html.render(Document(page.title, page.lead, tuple(sections)))
