"""How work items become sessions: scheduler, workers, checkpoint, progress."""

from __future__ import annotations

from crm_assets.engine.batch import BatchSummary, Item, Limits, Progress, Source, run_batch
from crm_assets.engine.dataset_run import run_harness

__all__ = ["BatchSummary", "Item", "Limits", "Progress", "Source", "run_batch", "run_harness"]
