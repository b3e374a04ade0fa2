"""A study of learning: its result, from the baselines of its arms, and its page."""

from __future__ import annotations

from crm_assets.reporting.study.models import Study
from crm_assets.reporting.study.page import render_study_html, render_study_markdown, study_summary
from crm_assets.reporting.study.result import study_result

__all__ = ["Study", "render_study_html", "render_study_markdown", "study_result", "study_summary"]
