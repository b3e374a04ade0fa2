"""Pictures of baselines: SVG and PNG that read well on light and on dark pages.

Records in (`from_metrics` makes them of a baseline), `Drawing`s out. Nothing here needs a display or
the network, and matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from crm_assets.reporting.plots.adapters import from_metrics, run_point
from crm_assets.reporting.plots.drawing import NAMES, Drawing, draw
from crm_assets.reporting.plots.files import PictureFile, markdown_image, write_pictures
from crm_assets.reporting.plots.inline import inline_svg
from crm_assets.reporting.plots.records import (
    CurvePoint,
    Estimate,
    KindCount,
    Pictures,
    RateBar,
    RoleAmount,
    RunPoint,
)

__all__ = [
    "NAMES",
    "CurvePoint",
    "Drawing",
    "Estimate",
    "KindCount",
    "PictureFile",
    "Pictures",
    "RateBar",
    "RoleAmount",
    "RunPoint",
    "draw",
    "from_metrics",
    "inline_svg",
    "markdown_image",
    "run_point",
    "write_pictures",
]
