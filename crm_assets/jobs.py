"""The jobs."""

from __future__ import annotations

import dagster as dg

from crm_assets.assets import LINEAGE

__all__ = ["BASELINE_JOB", "baseline"]

BASELINE_JOB = "baseline"

baseline = dg.define_asset_job(
    BASELINE_JOB,
    selection=dg.AssetSelection.assets(*LINEAGE),
    description="The whole lineage of one baseline: a run over a dataset.",
)
