"""The look of pictures: colors, type, and labels that fit.

Backgrounds are transparent, and the same picture is read on white and on dark pages. Every color of
text and data therefore contrasts at least 3 : 1 (WCAG 2.1, success criterion 1.4.11) with #ffffff,
#0d1117 and #1e1e1e. Hues are near those of Okabe and Ito's color-blind safe palette, brought to that
range of luminance; where two series share a picture, shape or texture tells them apart as well.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from crm_assets.reporting.formats import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "INK",
    "MARKERS",
    "SMALL",
    "WIDTH",
    "fit",
    "grid",
    "inches_of",
    "largest",
    "new_figure",
    "note",
    "our_style",
    "share_axis",
]

INK = "#7a8087"
"""Text, axes and rules."""
COLORS = ("#1f78c8", "#c8641e", "#0f8f6a", "#b5659a")
"""Data: blue, orange, green, purple."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes, where colors would be too many."""
WIDTH = 7.5
"""Width of every picture, inches."""
SMALL = 8.0
"""Size of secondary text, points."""

_Item = TypeVar("_Item")
_BREAK = re.compile(r"[ -]")
_LONGEST_NAME = 500  # characters that are looked at; far more than any picture has room for
_LOCK = threading.Lock()
_RULES: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": SMALL,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "figure.titlesize": 10.0,
    "figure.titleweight": "bold",
    "hatch.linewidth": 1.4,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "path",  # the same everywhere, fonts installed or not
    "svg.hashsalt": "crm_assets",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": INK,
    "ytick.labelsize": 9.0,
}


@contextmanager
def our_style() -> Iterator[None]:
    """Apply matplotlib's defaults and our rules, whatever the user's matplotlibrc says.

    Matplotlib keeps its settings for the whole process, so only one thread draws at a time.
    """
    import matplotlib.style  # noqa: PLC0415

    with _LOCK, matplotlib.style.context(["default", _RULES]):
        yield


def new_figure(title: str, *, height: float) -> Figure:
    """Return an empty figure of our width; `height` in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.04, hspace=0.02))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def fit(text: str, inches: float, *, size: float = 9.0, lines: int = 2) -> str:
    """Return `text` on at most `lines` lines of that width when set in `size` points, the rest elided."""
    rest = plain(text[:_LONGEST_NAME]) or "(no name)"
    fitted: list[str] = []
    while rest:
        if inches_of(rest, size) <= inches:
            return "\n".join([*fitted, rest])
        last = len(fitted) == lines - 1
        end = _characters_within(rest, inches - (inches_of("…", size) if last else 0.0), size)
        if last:
            return "\n".join([*fitted, f"{rest[:end].rstrip()}…"])
        breaks = [match.end() for match in _BREAK.finditer(rest, 0, end)]
        end = breaks[-1] if breaks and breaks[-1] > end // 3 else end  # not a line of a few letters
        fitted.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return "\n".join(fitted)


def inches_of(text: str, size: float) -> float:
    """Return the width of `text` as drawn in `size` points."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415

    font = FontProperties(size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72.0


def grid(axes: Axes, direction: str) -> None:
    """Draw faint rules to read values by, across the axis "x" or "y"."""
    axes.grid(axis=direction, color=INK, alpha=0.25, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def share_axis(axes: Axes, direction: str, *, percent: bool = True) -> None:
    """Set an axis from 0 to 1 along "x" or "y", always whole, so that pictures compare."""
    from matplotlib.ticker import FixedLocator, PercentFormatter  # noqa: PLC0415

    axis = axes.xaxis if direction == "x" else axes.yaxis
    set_limits = axes.set_xlim if direction == "x" else axes.set_ylim
    set_limits(-0.02, 1.02)
    axis.set_major_locator(FixedLocator([0.0, 0.25, 0.5, 0.75, 1.0]))
    if percent:
        axis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    grid(axes, direction)


def largest(items: Sequence[_Item], sizes: Sequence[float], most: int) -> tuple[list[_Item], list[_Item]]:
    """Return the `most` items of the greatest size, and the rest; both in the order they came in."""
    ranked = sorted(range(len(items)), key=lambda index: (-sizes[index], index))
    kept = set(ranked[:most])
    return (
        [item for index, item in enumerate(items) if index in kept],
        [item for index, item in enumerate(items) if index not in kept],
    )


def note(figure: Figure, text: str) -> None:
    """Write a line below the picture: what it leaves out."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=SMALL)


def _characters_within(text: str, inches: float, size: float) -> int:
    """Return how many characters of `text` fit, at least one."""
    few, many = 1, len(text)
    while few < many:
        middle = (few + many + 1) // 2
        few, many = (middle, many) if inches_of(text[:middle], size) <= inches else (few, middle - 1)
    return few
