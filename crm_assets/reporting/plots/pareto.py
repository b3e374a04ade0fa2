"""Cost beside quality: which systems nobody undercuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.reporting.figures import Rate
from crm_assets.reporting.plots.amounts import short
from crm_assets.reporting.plots.style import COLORS, INK, SMALL, grid, new_figure, share_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Priced", "pareto"]


_NEAR = 0.03
"""Share of the axes within which labels would lie on each other."""


class Priced(NamedTuple):
    """A system with its cost."""

    label: str
    cost_usd: float
    """Of a conversation."""
    rate: Rate
    on_front: bool


def pareto(systems: Sequence[Priced]) -> Figure:
    """Draw strict success over cost, each with its interval; a line joins those that nobody undercuts."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    figure = new_figure("Strict success over cost", height=3.4)
    axes = figure.add_subplot()
    front = sorted((each for each in systems if each.on_front), key=lambda each: each.cost_usd)
    if front[1:]:
        axes.plot(
            [each.cost_usd for each in front],
            [each.rate.value or 0.0 for each in front],
            color=INK, linewidth=1.0, linestyle="--", drawstyle="steps-post",
        )  # fmt: skip
    for each in systems:
        color, marker, above = (COLORS[0], "o", 4) if each.on_front else (COLORS[1], "s", 3)
        if each.rate.low is not None and each.rate.high is not None:
            axes.vlines(each.cost_usd, each.rate.low, each.rate.high, colors=color, linewidth=1.6)
        axes.plot(
            [each.cost_usd],
            [each.rate.value or 0.0],
            color=color,
            marker=marker,
            markersize=6.5,
            zorder=above,
        )
    most = max(each.cost_usd for each in systems)
    for (cost, rate), labels in _labels(systems, most).items():
        axes.annotate(
            ", ".join(labels), (cost, rate), xytext=(6, 4), textcoords="offset points", fontsize=SMALL
        )
    axes.set_xlim(-0.03 * (most or 1), 1.1 * (most or 1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"${short(amount)}" if amount else "0"))
    axes.set_xlabel("US dollars of a conversation, all roles")
    share_axis(axes, "y")
    axes.set_ylabel("strict success,\nwith 95% interval")
    grid(axes, "y")
    return figure


def _labels(systems: Sequence[Priced], most: float) -> dict[tuple[float, float], list[str]]:
    """Return the labels by place, those of dots that lie on each other together."""
    found: dict[tuple[float, float], list[str]] = {}
    for each in systems:
        here = (each.cost_usd, each.rate.value or 0.0)
        near = next(
            (
                place
                for place in found
                if abs(place[0] - here[0]) <= _NEAR * most and abs(place[1] - here[1]) <= _NEAR
            ),
            here,
        )
        found.setdefault(near, []).append(each.label)
    return found
