"""Reporting: from sessions.jsonl to figures with intervals, and to the pages that show them.

Reads files, not objects of a run, so that every figure can be computed again.
"""

from __future__ import annotations

from crm_assets.reporting.baseline import baseline_run_info, page_code, with_pictures, write_pages
from crm_assets.reporting.figures import Mean, Rate
from crm_assets.reporting.intervals import wilson_interval
from crm_assets.reporting.metrics import compute_metrics, read_metrics, write_metrics
from crm_assets.reporting.models import Metrics, RunInfo
from crm_assets.reporting.readme import render_readme
from crm_assets.reporting.summary import summarize

__all__ = [
    "Mean",
    "Metrics",
    "Rate",
    "RunInfo",
    "baseline_run_info",
    "compute_metrics",
    "page_code",
    "read_metrics",
    "render_readme",
    "summarize",
    "wilson_interval",
    "with_pictures",
    "write_metrics",
    "write_pages",
]
