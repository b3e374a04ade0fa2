"""Pictures of baselines: SVG and PNG that read well on light and on dark pages.

Drawn from metrics, without a display and without the network; matplotlib is imported only then.
"""

from __future__ import annotations

from crm_assets.reporting.plots.drawing import (
    NAMES,
    Drawing,
    captions,
    draw,
    draw_pareto,
    draw_progression,
)
from crm_assets.reporting.plots.files import PictureFile, markdown_image, write_pictures
from crm_assets.reporting.plots.inline import inline_svg

__all__ = [
    "NAMES",
    "Drawing",
    "PictureFile",
    "captions",
    "draw",
    "draw_pareto",
    "draw_progression",
    "inline_svg",
    "markdown_image",
    "write_pictures",
]
