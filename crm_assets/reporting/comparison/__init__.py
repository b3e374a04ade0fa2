"""Two baselines compared: what differs, how certain that is, and how small a difference is detectable.

`paired_difference` and what it calls need no files: they take outcomes, one per conversation.
"""

from __future__ import annotations

from crm_assets.reporting.comparison.compare import compare_baselines
from crm_assets.reporting.comparison.models import (
    MEASURES,
    Comparison,
    FactChange,
    Flip,
    Measure,
    MeasureComparison,
    Outcome,
    PairedDifference,
    SliceComparison,
)
from crm_assets.reporting.comparison.pages import (
    comparison_blocks,
    comparison_summary,
    render_markdown,
    render_page,
)
from crm_assets.reporting.comparison.paired import (
    DEFAULT_RESAMPLES,
    Pair,
    bootstrap_interval,
    compare_measure,
    paired_difference,
)
from crm_assets.reporting.comparison.power import detectable_difference, detectable_share
from crm_assets.reporting.comparison.provenance import compare_facts, read_facts
from crm_assets.reporting.comparison.runs import outcomes_of
from crm_assets.reporting.comparison.significance import holm, mcnemar, sign_flip
from crm_assets.reporting.comparison.wording import headline

__all__ = [
    "DEFAULT_RESAMPLES",
    "MEASURES",
    "Comparison",
    "FactChange",
    "Flip",
    "Measure",
    "MeasureComparison",
    "Outcome",
    "Pair",
    "PairedDifference",
    "SliceComparison",
    "bootstrap_interval",
    "compare_baselines",
    "compare_facts",
    "compare_measure",
    "comparison_blocks",
    "comparison_summary",
    "detectable_difference",
    "detectable_share",
    "headline",
    "holm",
    "mcnemar",
    "outcomes_of",
    "paired_difference",
    "read_facts",
    "render_markdown",
    "render_page",
    "sign_flip",
]
