"""People's labels of sessions and turns: out and in as CSV, and how well the raters agree with them."""

from __future__ import annotations

from crm_assets.reporting.labels.agreement import LabelFigures, label_figures
from crm_assets.reporting.labels.export import export_labels
from crm_assets.reporting.labels.imported import import_labels
from crm_assets.reporting.labels.page import label_blocks
from crm_assets.reporting.labels.store import read_labels

__all__ = [
    "LabelFigures",
    "export_labels",
    "import_labels",
    "label_blocks",
    "label_figures",
    "read_labels",
]
