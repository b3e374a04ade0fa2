"""From metrics to finished pictures: SVG for pages, PNG for where SVG cannot go."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_assets.reporting.judge_page import VERDICTS
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.plots.amounts import failed_turns, role_amounts
from crm_assets.reporting.plots.calibration import calibration
from crm_assets.reporting.plots.curves import learning_curve
from crm_assets.reporting.plots.pareto import Priced, pareto
from crm_assets.reporting.plots.progression import progression
from crm_assets.reporting.plots.rates import rate_columns, rate_rows
from crm_assets.reporting.plots.style import our_style
from crm_assets.reporting.run_figures import RunFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "NAMES",
    "Drawing",
    "Plot",
    "captions",
    "draw",
    "draw_pareto",
    "draw_progression",
    "lay_out",
    "plots_of",
]

_SHARE = "the share of conversations that succeeded, with its 95% interval"
_CAPTIONS: Final = {
    "success_by_complexity": f"Strict success by complexity: {_SHARE}.",
    "success_by_workflow": f"Strict success by workflow: {_SHARE}.",
    "success_by_turn": "Turn success by position in the conversation: the share of executed turns that "
    "succeeded, with its 95% interval.",
    "learning_curve": "Reward over the sessions of each learning key, in order: dots are means of "
    "consecutive sessions, the line is their running mean.",
    "calibration": "Calibration of the judges: the share of sessions that the harness found right, with "
    "its 95% interval, over their mean reward; on the dashed line rewards would be such shares.",
    "cost_by_role": "Tokens and cost by role, over all sessions.",
    "failure_kinds": "Failed turns by kind of failure, most frequent first.",
    "progression": "Finished runs, oldest first: strict success, state match, and mean reward, with their "
    "95% intervals. A line joins runs of one sample.",
    "pareto": "Strict success over the cost of a conversation, with 95% intervals. The dashed line joins "
    "the systems (circles) that no other undercuts at the same or a better rate.",
}
_CALIBRATED: Final = {name: VERDICTS[name] for name in ("strict_success", "turns_right", "state_match")}
NAMES: Final = tuple(_CAPTIONS)
"""Every picture there is, in reading order."""

_FINEST, _COARSEST = 144, 72  # dots an inch
_LARGEST_PNG = 44_000  # bytes; as base64 in Markdown a third more
_PALETTE = 32


class Plot(NamedTuple):
    """A picture that is not drawn yet."""

    name: str
    figure: Callable[[], Figure]
    """Draws it; to be called inside `our_style`."""


@dataclass(frozen=True)
class Drawing:
    """One finished picture; the same metrics give the same bytes."""

    name: str
    """One of `NAMES`; the stem of its file."""
    caption: str
    """Caption; plain text."""
    svg: str
    """An SVG document with a transparent background, text as outlines."""
    png: bytes
    """The same as PNG."""


def draw(metrics: Metrics) -> tuple[Drawing, ...]:
    """Draw every picture that the metrics of a baseline give, in reading order."""
    return _drawn(plots_of(metrics))


def draw_progression(runs: Mapping[str, RunFigures]) -> tuple[Drawing, ...]:
    """Draw the runs of a dataset, by key and oldest first; no picture without a run."""
    return _drawn([Plot("progression", partial(progression, runs))] if runs else [])


def draw_pareto(systems: Sequence[Priced]) -> tuple[Drawing, ...]:
    """Draw cost beside quality; no picture for fewer than two systems."""
    return _drawn([Plot("pareto", partial(pareto, systems))] if systems[1:] else [])


def captions(metrics: Metrics) -> dict[str, str]:
    """Return the caption of every picture that `draw` gives, by name, without drawing any."""
    return {plot.name: _CAPTIONS[plot.name] for plot in plots_of(metrics)}


def plots_of(metrics: Metrics) -> Iterator[Plot]:
    """Yield the pictures that there are figures for, in reading order."""
    for name, groups in (("complexity", metrics.by_complexity), ("workflow", metrics.by_workflow)):
        if groups:
            rates = {label: group.strict_success for label, group in groups.items()}
            measure = "conversations with strict success"
            rows = partial(rate_rows, f"Strict success by {name}", rates, measure, "conversations")
            yield Plot(f"success_by_{name}", rows)
    if metrics.by_turn:
        rates = {turn: group.turn_success for turn, group in metrics.by_turn.items()}
        yield Plot("success_by_turn", partial(rate_columns, "Turn success by position", rates))
    if any(block.reward is not None for block in metrics.learning_curve):
        yield Plot("learning_curve", partial(learning_curve, metrics.learning_curve))
    judged = metrics.judges.rewards if metrics.judges else {}
    if any(found.bins for found in judged.values()):
        shown = {title: judged[name] for name, title in _CALIBRATED.items()}
        yield Plot("calibration", partial(calibration, shown))
    if metrics.token_usage or metrics.cost_usd:
        yield Plot("cost_by_role", partial(role_amounts, metrics.token_usage, metrics.cost_usd))
    if metrics.failure_kinds:
        yield Plot("failure_kinds", partial(failed_turns, metrics.failure_kinds))


def lay_out(plot: Plot) -> Figure:
    """Return the figure with everything in its place, once rather than anew for each format."""
    figure = plot.figure()
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    return figure


def _drawn(plots: Iterable[Plot]) -> tuple[Drawing, ...]:
    with our_style(), warnings.catch_warnings():
        # DejaVu Sans has no CJK: such names are drawn as boxes, and the tables have them in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawings = []
        for plot in plots:
            figure = lay_out(plot)
            drawings.append(Drawing(plot.name, _CAPTIONS[plot.name], _svg(figure), _png(figure)))
        return tuple(drawings)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # would name time and tool
    figure.savefig(buffer, format="svg", metadata=nothing)
    lines = buffer.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _png(figure: Figure) -> bytes:
    """Return as fine a picture as fits the size that metadata should have."""
    resolution = _FINEST
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=resolution, pil_kwargs={"compress_level": 0})
        image = _fewer_colors(buffer)
        if len(image) <= _LARGEST_PNG or resolution == _COARSEST:
            return image
        # Bytes grow with about the 1.25th power of the resolution; a bit less than that says, to be sure.
        fitting = int(resolution * 0.97 * (_LARGEST_PNG / len(image)) ** 0.8)
        resolution = max(_COARSEST, fitting)


def _fewer_colors(png: io.BytesIO) -> bytes:
    """Return the picture with a palette: a third of the bytes, without a visible difference."""
    from PIL import Image  # noqa: PLC0415

    out = io.BytesIO()
    with Image.open(png) as image:
        method = Image.Quantize.FASTOCTREE  # the one that keeps transparency
        image.convert("RGBA").quantize(_PALETTE, method=method).save(out, "PNG")
    return out.getvalue()
