"""From records to finished pictures: SVG for pages, PNG for where SVG cannot go."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_assets.reporting.formats import counted, dollars, number, plain, share
from crm_assets.reporting.plots.amounts import failed_turns, role_amounts
from crm_assets.reporting.plots.curves import learning_curve
from crm_assets.reporting.plots.progression import progression
from crm_assets.reporting.plots.rates import rate_columns, rate_rows
from crm_assets.reporting.plots.records import CurvePoint, Pictures, RateBar, RoleAmount, RunPoint
from crm_assets.reporting.plots.style import our_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NAMES", "Drawing", "draw", "figures"]

NAMES = (
    "success_by_complexity",
    "success_by_workflow",
    "success_by_turn",
    "learning_curve",
    "cost_by_role",
    "failure_kinds",
    "progression",
)
"""Every picture there is, in reading order."""

_FINEST, _COARSEST = 144, 72  # dots an inch
_LARGEST_PNG = 44_000  # bytes; as base64 in Markdown a third more
_PALETTE = 32
_ITEMS_NAMED = 8


@dataclass(frozen=True)
class Drawing:
    """One finished picture; the same records give the same bytes."""

    name: str
    """One of `NAMES`; the stem of its file."""
    alt: str
    """What the picture shows, for those who do not see it: plain text."""
    svg: str
    """An SVG document with a transparent background, text as outlines."""
    png: bytes
    """The same as PNG."""


def draw(pictures: Pictures) -> tuple[Drawing, ...]:
    """Every picture there are records for, in reading order."""
    with our_style(), warnings.catch_warnings():
        # DejaVu Sans has no CJK: such names are drawn as boxes, and the tables have them in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return tuple(
            Drawing(name, alt, _svg(figure), _png(figure)) for name, alt, figure in figures(pictures)
        )


def figures(pictures: Pictures) -> Iterator[tuple[str, str, Figure]]:
    """Name, alternative text and figure of every picture; to be used inside `our_style`."""
    for name, alt, figure in _plots(pictures):
        # Everything finds its place once, rather than anew for each format.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine(None)
        yield name, alt, figure


def _plots(pictures: Pictures) -> Iterator[tuple[str, str, Figure]]:
    """The same, not laid out yet."""
    for name, what, bars in (
        ("success_by_complexity", "Strict success by complexity", pictures.by_complexity),
        ("success_by_workflow", "Strict success by workflow", pictures.by_workflow),
    ):
        if bars:
            measure = "conversations right in every turn"
            figure = rate_rows(what, bars, measure=measure, counted="conversations")
            yield name, _alt(what, _rates(bars)), figure
    if turns := pictures.by_turn:
        what = "Turn success by position"
        figure = rate_columns(what, turns, measure="turns right", position="turn", counted="turns executed")
        yield "success_by_turn", _alt(what, _rates(turns, "turn ")), figure
    if rewards := pictures.rewards:
        what = "Reward over the sessions, by learning key"
        yield "learning_curve", _alt(what, _curve(rewards)), learning_curve(rewards)
    if roles := [role for role in pictures.roles if role.tokens_total is not None or role.usd is not None]:
        yield "cost_by_role", _alt("Tokens and cost by role", _roles(roles)), role_amounts(roles)
    if kinds := pictures.failure_kinds:
        items = [f"{plain(kind.kind)}: {number(kind.turns)}" for kind in kinds]
        yield "failure_kinds", _alt("Failed turns by kind", items), failed_turns(kinds)
    if runs := pictures.runs:
        yield "progression", _alt("Strict success of runs, oldest first", _runs(runs)), progression(runs)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # says when and with what it was made
    figure.savefig(buffer, format="svg", metadata=nothing)
    lines = buffer.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _png(figure: Figure) -> bytes:
    """As fine as fits the size that metadata should have."""
    resolution = _FINEST
    while True:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=resolution, pil_kwargs={"compress_level": 0})
        image = _fewer_colours(buffer)
        if len(image) <= _LARGEST_PNG or resolution == _COARSEST:
            return image
        # Bytes grow with about the 1.25th power of the resolution; a bit less than that says, to be sure.
        fitting = int(resolution * 0.97 * (_LARGEST_PNG / len(image)) ** 0.8)
        resolution = max(_COARSEST, fitting)


def _fewer_colours(png: io.BytesIO) -> bytes:
    """The picture with a palette: a third of the bytes, and nobody sees it."""
    from PIL import Image  # noqa: PLC0415

    out = io.BytesIO()
    with Image.open(png) as image:
        method = Image.Quantize.FASTOCTREE  # the one that keeps transparency
        image.convert("RGBA").quantize(_PALETTE, method=method).save(out, "PNG")
    return out.getvalue()


def _alt(what: str, items: Sequence[str]) -> str:
    named = "; ".join(items[:_ITEMS_NAMED])
    more = f"; and {len(items) - _ITEMS_NAMED:,} more" if len(items) > _ITEMS_NAMED else ""
    return f"{what}: {named}{more}."


def _rates(bars: Sequence[RateBar], before: str = "") -> list[str]:
    return [
        f"{before}{plain(bar.label)} {share(bar.value)} of {bar.count:,}"
        if bar.value is not None
        else f"{before}{plain(bar.label)} without a verdict"
        for bar in bars
    ]


def _curve(points: Sequence[CurvePoint]) -> list[str]:
    mean = sum(point.reward for point in points) / len(points)
    keys = len({point.key for point in points})
    return [f"{counted(len(points), 'session')}, {counted(keys, 'key')}, mean reward {mean:.3f}"]


def _roles(roles: Sequence[RoleAmount]) -> list[str]:
    return [f"{plain(role.role)} {number(role.tokens_total)} tokens, {dollars(role.usd)}" for role in roles]


def _runs(runs: Sequence[RunPoint]) -> list[str]:
    newest = runs[-_ITEMS_NAMED + 1 :]
    items = [f"{plain(run.label)} ({plain(run.mode)}) {share(run.strict_success.value)}" for run in newest]
    older = len(runs) - len(newest)
    return ([counted(older, "older run")] if older else []) + items
