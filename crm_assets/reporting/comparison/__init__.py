"""Two baselines compared: what differs, how sure that is, and what it could have missed.

`paired_difference` and what stands behind it need no files: they take outcomes, a conversation each.
"""

from __future__ import annotations

from crm_assets.reporting.comparison.compare import compare_baselines
from crm_assets.reporting.comparison.markdown import render_markdown
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
from crm_assets.reporting.comparison.page import render_page
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
from crm_assets.reporting.comparison.text import render_text
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
    "render_text",
    "sign_flip",
]
