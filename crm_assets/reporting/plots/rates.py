"""Rates with their intervals: a dot and whiskers each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crm_assets.reporting.figures import Estimate, Rate
from crm_assets.reporting.formats import percent
from crm_assets.reporting.plots.style import (
    COLORS,
    SMALL,
    WIDTH,
    fit,
    largest,
    new_figure,
    note,
    share_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["rate_columns", "rate_rows", "whiskers"]

_MOST_ROWS = 24
_LABEL = 2.2  # inches
_CHARACTER = 0.075  # inches that a figure of small text takes


def rate_rows(title: str, rates: Mapping[str, Rate], measure: str, counted: str) -> Figure:
    """Draw a row for each rate: its name on the left, its figures on the right.

    Args:
        title: of the picture.
        rates: by name, from top to bottom; of too many, those with the most verdicts are drawn.
        measure: what the rates mean, for the axis.
        counted: what a verdict is about, plural.
    """
    bars = list(rates.items())
    shown, left_out = largest(bars, [rate.count for _, rate in bars], _MOST_ROWS)
    labels = [fit(label, _LABEL) for label, _ in shown]
    row = 0.36 if any("\n" in label for label in labels) else 0.27
    figure = new_figure(title, height=0.95 + row * len(shown) + (0.2 if left_out else 0.0))
    axes = figure.add_subplot()
    whiskers(axes, dict(enumerate(rate for _, rate in shown)), color=COLORS[0])
    for position, (_, rate) in enumerate(shown):
        axes.text(1.03, position, _figures(rate), transform=axes.get_yaxis_transform(), va="center",
                  fontsize=SMALL)  # fmt: skip
    axes.set_yticks(range(len(shown)), labels)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    share_axis(axes, "x")
    axes.set_xlabel(f"{measure}, with 95% interval; n: {counted}")
    if left_out:
        note(figure, f"The {_MOST_ROWS} with the most {counted}; {len(left_out):,} more are in the table.")
    return figure


def rate_columns(title: str, rates: Mapping[str, Rate]) -> Figure:
    """Draw a column for the rate of each turn, its count below.

    Args:
        title: of the picture.
        rates: by the turn's position, from left to right.
    """
    figure = new_figure(title, height=2.9)
    axes = figure.add_subplot()
    whiskers(axes, dict(enumerate(rates.values())), color=COLORS[0], upright=True)
    labels = [f"{fit(turn, 0.6, size=SMALL, lines=1)}\nn={rate.count:,}" for turn, rate in rates.items()]
    widest = max(len(line) for label in labels for line in label.split("\n"))
    room = max(1, int((WIDTH - 1.0) / (_CHARACTER * (widest + 2))))
    step = -(-len(rates) // room)
    axes.set_xticks(range(0, len(rates), step), labels[::step])
    axes.set_xlim(-0.6, len(rates) - 0.4)
    share_axis(axes, "y")
    axes.set_ylabel("successful turns,\nwith 95% interval")
    axes.set_xlabel("turn; n: turns executed")
    return figure


def whiskers(
    axes: Axes,
    estimates: Mapping[int, Estimate],
    *,
    color: str,
    marker: str = "o",
    upright: bool = False,
) -> None:
    """Draw at each position a dot for the estimate and a line over its interval; nothing if undefined."""
    known = {at: (each.value, each) for at, each in estimates.items() if each.value is not None}
    spans = {
        at: (each.low, each.high)
        for at, (_, each) in known.items()
        if each.low is not None and each.high is not None
    }
    if not known:
        return  # what is empty would lie at the picture's corner, and layout would make room for it
    if spans:
        lows, highs = zip(*spans.values(), strict=True)
        lines = axes.vlines if upright else axes.hlines
        lines(list(spans), lows, highs, colors=color, linewidth=1.6, clip_on=False)
    places, values = list(known), [value for value, _ in known.values()]
    x, y = (places, values) if upright else (values, places)
    axes.plot(x, y, color=color, marker=marker, markersize=6.5, linestyle="none", clip_on=False)


def _figures(rate: Rate) -> str:
    return f"{percent(rate)}  n={rate.count:,}" if rate.count else "no verdict"
