"""Calibration: how often sessions of a reward are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crm_assets.reporting.judge_models import CalibrationBin, RewardAgainst
from crm_assets.reporting.plots.style import COLORS, INK, SMALL, new_figure, share_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration"]


def calibration(panels: Mapping[str, RewardAgainst]) -> Figure:
    """Draw a panel for each verdict, by name: the share of right ones over the reward, of each bin."""
    figure = new_figure("Right ones by reward", height=3.0)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for each, (name, found) in zip(axes, panels.items(), strict=True):
        _draw(each, found.bins)
        each.set_title(name, loc="left", fontsize=SMALL)
        each.set_xlabel("mean reward of the bin")
    axes[0].set_ylabel("share that the harness found right,\nwith 95% interval")
    return figure


def _draw(axes: Axes, bins: tuple[CalibrationBin, ...]) -> None:
    axes.plot([0.0, 1.0], [0.0, 1.0], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    known = [(each.reward, each.right) for each in bins if each.reward is not None]
    for reward, right in known:
        if right.low is not None and right.high is not None:
            axes.vlines(reward, right.low, right.high, colors=COLORS[0], linewidth=1.6, clip_on=False)
    points = [(reward, right.value) for reward, right in known if right.value is not None]
    if points:
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=COLORS[0],
            marker="o",
            markersize=6.5,
            linewidth=1.0,
            clip_on=False,
        )
    else:
        axes.text(0.5, 0.5, "no session with both", transform=axes.transAxes, ha="center", fontsize=SMALL)
    share_axis(axes, "y")
    share_axis(axes, "x", percent=False)
    axes.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
