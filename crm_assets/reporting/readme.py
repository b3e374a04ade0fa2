"""A baseline's pages: the README.md is what a person wants to know first, report.html holds all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crm_assets.errors import InputError
from crm_assets.reporting import markdown
from crm_assets.reporting.document import Document, code
from crm_assets.reporting.judge_page import JUDGES_TITLE
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.readme_points import agent_name, lead, point_sections
from crm_assets.reporting.readme_tables import table_sections

__all__ = ["baseline_document", "render_readme"]

_SHORT_HASH = 12
_ONLY_IN_REPORT = frozenset(
    {
        *("By workflow", "By expected tool", "By turn", "Failure kinds", "Tokens and cost"),
        *("Rewards and time", "Loop counts", "Rewards by learning key", "Provenance", JUDGES_TITLE),
    }
)
"""Titles of the sections that grow with tools, workflows and settings, or that few people look up."""


def render_readme(metrics: Metrics, *, revision: Mapping[str, Any] | None = None) -> str:
    """Return the README of a baseline, without pictures: the points, and the tables that are short.

    Args:
        metrics: the baseline's figures.
        revision: the baseline's revision.json, for what the sessions do not record of the dataset: its
            git commit, and how many conversations it holds.

    Raises:
        InputError: `revision` is of another state of the dataset.
    """
    whole = baseline_document(metrics, revision or {})
    short = tuple(section for section in whole.sections if section.title not in _ONLY_IN_REPORT)
    left = [section.title.lower() for section in whole.sections if section not in short]
    more = (code("report.html"), f" has the rest: {', '.join(left)}.")
    return markdown.render(Document(whole.title, (*whole.lead, more), short))


def baseline_document(metrics: Metrics, revision: Mapping[str, Any]) -> Document:
    """Build what the report says, and in short the README.

    Raises:
        InputError: `revision` is of another state of the dataset.
    """
    known = revision.get("sha256")
    if known and metrics.dataset_revision and known != metrics.dataset_revision:
        raise InputError(
            f"The sessions ran on dataset revision {metrics.dataset_revision[:_SHORT_HASH]}, but "
            f"revision.json has {str(known)[:_SHORT_HASH]}; use the files of one baseline."
        )
    dataset = code(metrics.dataset or "an unnamed dataset")
    return Document(
        title=("Baseline: ", agent_name(metrics), " on ", dataset),
        lead=(lead(metrics),),
        sections=(*point_sections(metrics, revision), *table_sections(metrics, revision)),
    )
