"""The history of a dataset: its runs from the oldest to the newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from crm_assets.reporting.figures import Estimate
from crm_assets.reporting.plots.rates import whiskers
from crm_assets.reporting.plots.style import (
    COLORS,
    INK,
    MARKERS,
    SMALL,
    fit,
    new_figure,
    note,
    share_axis,
)
from crm_assets.reporting.run_figures import RunFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["progression"]

_MOST_RUNS = 40
_FIRST_MODES = ("paired", "harness", "auto", "coach")  # whose marker is the same in every history


def progression(runs: Mapping[str, RunFigures]) -> Figure:
    """Draw a row for each run, by key, newest last: strict success, state match and reward."""
    keys = list(runs)
    left_out, labels = keys[:-_MOST_RUNS], [fit(key, 1.9) for key in keys[-_MOST_RUNS:]]
    shown = [runs[key] for key in keys[-_MOST_RUNS:]]
    row = 0.34 if any("\n" in label for label in labels) else 0.24
    figure = new_figure(
        "Runs, oldest first",
        height=1.3 + row * len(shown) + (0.2 if left_out else 0.0),
    )
    columns: tuple[tuple[str, list[Estimate], str, bool], ...] = (
        ("strict success", [run.strict_success for run in shown], COLORS[0], True),
        ("state match", [run.state_match for run in shown], COLORS[2], True),
        ("reward, 0 to 1", [run.reward for run in shown], COLORS[3], False),
    )
    modes = _markers(run.mode for run in shown)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, (name, estimates, color, percent) in zip(panels, columns, strict=True):
        _draw(axes, shown, estimates, color=color, modes=modes)
        share_axis(axes, "x", percent=percent)
        axes.set_xticks([0.0, 0.5, 1.0], ["0%", "50%", "100%"] if percent else ["0", "0.5", "1"])
        axes.set_xlabel(f"{name}, 95% interval")
        axes.set_yticks(range(len(shown)), labels)
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    _legend(figure, modes)
    if left_out:
        note(figure, f"The newest {_MOST_RUNS} runs; {len(left_out):,} older ones are in the table.")
    return figure


def _draw(
    axes: Axes,
    runs: Sequence[RunFigures],
    estimates: Sequence[Estimate],
    *,
    color: str,
    modes: dict[str, str],
) -> None:
    known = [(each.value, row) for row, each in enumerate(estimates) if each.value is not None]
    if not known:
        axes.text(0.5, 0.5, "none reported", transform=axes.transAxes, ha="center", fontsize=SMALL)
        return
    for sample in dict.fromkeys(run.sample for run in runs):  # a line joins what is comparable
        values = [value for value, row in known if runs[row].sample == sample]
        rows = [row for _, row in known if runs[row].sample == sample]
        axes.plot(values, rows, color=INK, linewidth=0.8, linestyle=(0, (2, 2)), clip_on=False)
    for mode, marker in modes.items():
        of_mode = {row: estimates[row] for row, run in enumerate(runs) if run.mode == mode}
        whiskers(axes, of_mode, color=color, marker=marker)


def _markers(modes: Iterable[str]) -> dict[str, str]:
    """Return a marker for each mode; beyond the known modes, in the order of their names."""
    present = set(modes)
    others = sorted(present.difference(_FIRST_MODES))
    named = {mode: MARKERS[index % len(MARKERS)] for index, mode in enumerate((*_FIRST_MODES, *others))}
    return {mode: marker for mode, marker in named.items() if mode in present}


def _legend(figure: Figure, modes: dict[str, str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    names = {mode: fit(mode, 0.8, size=SMALL, lines=1) for mode in modes}
    handles = [
        Line2D([], [], color=INK, marker=marker, linestyle="none", label=names[mode])
        for mode, marker in modes.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, handletextpad=0.2)
