"""The learning curve: rewards over the order of sessions, by learning key."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, NamedTuple

from crm_assets.reporting.models import CurveBlock
from crm_assets.reporting.plots.style import (
    COLORS,
    INK,
    SMALL,
    WIDTH,
    fit,
    largest,
    new_figure,
    share_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curve", "running_mean"]

_MOST_PANELS = 9
_PANELS_ACROSS = 3
_MOST_DOTS = 150  # a panel; more would be a smear, and a heavy file
_SHORTEST_WINDOW, _LONGEST_WINDOW = 3, 25
_PARTS = 5
_SEPARATOR = "::"


class _Point(NamedTuple):
    """The mean reward of a block of a key's sessions, at the block's middle."""

    order: int
    reward: float


def learning_curve(blocks: Sequence[CurveBlock]) -> Figure:
    """Draw a panel for each learning key; of too many, the largest, and one panel for the others."""
    panels = _panels(blocks)
    lengths = sorted(len(panel) for _, panel in panels)
    window = min(_LONGEST_WINDOW, max(_SHORTEST_WINDOW, lengths[len(lengths) // 2] // _PARTS))
    bin_size = _bin_size(lengths[-1])
    across = min(_PANELS_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    figure = new_figure("Reward over the sessions, by learning key", height=1.1 + 1.5 * down)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    orders = [point.order for _, panel in panels for point in panel]
    ends = min(orders), max(orders)
    for number, axes in enumerate(grid.flat):
        if number >= len(panels):
            axes.set_visible(False)
            continue
        title, panel = panels[number]
        _draw(axes, panel, window=window)
        axes.set_title(fit(title, (WIDTH - 0.9) / across, size=SMALL), loc="left", fontsize=SMALL)
        _order_axis(axes, ends, labelled=number + across >= len(panels))
    dots = "one or a few sessions" if bin_size == 1 else "some sessions"
    figure.supxlabel(
        f"session of the key, in order  (dot: mean of {dots}; line: mean of the last {window} dots)",
        fontsize=SMALL,
    )
    figure.supylabel("reward, 0 to 1", fontsize=SMALL)
    return figure


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and those before it, at most `window` of them."""
    sums = [0.0, *accumulate(values)]
    return [(sums[end] - sums[max(0, end - window)]) / min(end, window) for end in range(1, len(sums))]


def _panels(blocks: Sequence[CurveBlock]) -> list[tuple[str, list[_Point]]]:
    """Return title and points of each panel, points in order; blocks without a reward have none."""
    by_key: dict[str, list[_Point]] = defaultdict(list)
    for block in sorted(blocks, key=lambda block: (block.first + block.last, block.label)):
        if block.reward is not None:
            by_key[block.label].append(_Point((block.first + block.last) // 2, block.reward))
    keys = sorted(by_key)
    most = _MOST_PANELS if len(keys) <= _MOST_PANELS else _MOST_PANELS - 1
    shown, rest = largest(keys, [len(by_key[key]) for key in keys], most)
    panels = [(title, by_key[key]) for title, key in zip(_titles(shown), shown, strict=True)]
    if rest:
        panels.append((f"{len(rest):,} other keys, together", _together([by_key[key] for key in rest])))
    return panels


def _together(keys: Sequence[Sequence[_Point]]) -> list[_Point]:
    """Return several keys as one: at each place in the order, the mean of those that got there."""
    by_order: dict[int, list[float]] = defaultdict(list)
    for point in chain.from_iterable(keys):
        by_order[point.order].append(point.reward)
    return [_Point(order, _mean(rewards)) for order, rewards in sorted(by_order.items())]


def _titles(keys: Sequence[str]) -> list[str]:
    """Return the keys without the leading parts that all of them share."""
    parts = [key.split(_SEPARATOR) for key in keys]
    shared = 0
    while len(keys) > 1 and all(len(each) > shared + 1 for each in parts):
        if len({each[shared] for each in parts}) > 1:
            break
        shared += 1
    return [" · ".join(each[shared:]) for each in parts]


def _draw(axes: Axes, panel: Sequence[_Point], *, window: int) -> None:
    orders = [point.order for point in panel]
    rewards = [point.reward for point in panel]
    bin_size = _bin_size(len(panel))
    bins = range(0, len(panel), bin_size)
    axes.plot(
        [_mean(orders[start : start + bin_size]) for start in bins],
        [_mean(rewards[start : start + bin_size]) for start in bins],
        linestyle="none", marker="o", markersize=2.6, color=INK, markeredgewidth=0, clip_on=False,
    )  # fmt: skip
    means = running_mean(rewards, window)
    shown = sorted({*bins, len(panel) - 1})
    axes.plot(
        [orders[at] for at in shown],
        [means[at] for at in shown],
        color=COLORS[0],
        linewidth=1.8,
        clip_on=False,
    )
    share_axis(axes, "y", percent=False)
    axes.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])


def _bin_size(sessions: int) -> int:
    """Return how many sessions one dot stands for."""
    return math.ceil(sessions / _MOST_DOTS)


def _order_axis(axes: Axes, ends: tuple[int, int], *, labelled: bool) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.set_xlim(ends[0] - 0.5, ends[1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.tick_params(labelbottom=labelled)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
