"""Baselines compared: what differs, how certain that is, and how small a difference is detectable.

`paired_difference` and what it calls need no files: they take outcomes, one per conversation.
"""

from __future__ import annotations

from crm_assets.reporting.comparison.compare import compare_baselines
from crm_assets.reporting.comparison.matrix import compare_all
from crm_assets.reporting.comparison.matrix_models import RunMatrix
from crm_assets.reporting.comparison.matrix_page import matrix_blocks, render_matrix_page
from crm_assets.reporting.comparison.models import Comparison, FactChange
from crm_assets.reporting.comparison.pages import (
    comparison_blocks,
    comparison_summary,
    render_markdown,
    render_page,
)
from crm_assets.reporting.comparison.paired import paired_difference
from crm_assets.reporting.comparison.provenance import compare_facts, read_facts
from crm_assets.reporting.comparison.runs import outcomes_of
from crm_assets.reporting.comparison.wording import brief, headline

__all__ = [
    "Comparison",
    "FactChange",
    "RunMatrix",
    "brief",
    "compare_all",
    "compare_baselines",
    "compare_facts",
    "comparison_blocks",
    "comparison_summary",
    "headline",
    "matrix_blocks",
    "outcomes_of",
    "paired_difference",
    "read_facts",
    "render_markdown",
    "render_matrix_page",
    "render_page",
]
