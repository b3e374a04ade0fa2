"""Amounts as bars: what roles used, and how turns failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from crm_assets.reporting.formats import dollars
from crm_assets.reporting.models import FailureKind, RoleCost, RoleTokens
from crm_assets.reporting.plots.style import (
    COLORS,
    INK,
    SMALL,
    WIDTH,
    fit,
    grid,
    inches_of,
    largest,
    new_figure,
    note,
)
from crm_assets.reporting.wording import describe_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["failed_turns", "role_amounts"]

_MOST_ROWS = 12
_ROW = 0.32  # inches, as below
_LABEL = 2.5
_MISSING = "not reported"
_NO_TOKENS = RoleTokens(
    prompt_tokens=None, completion_tokens=None, total_tokens=0, calls=None, conversations=0
)
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def role_amounts(tokens: Mapping[str, RoleTokens], costs: Mapping[str, RoleCost]) -> Figure:
    """Draw tokens and US dollars by role, side by side; a side without any report is left out."""
    roles = sorted({*tokens, *costs})
    totals = [tokens[role].total_tokens if role in tokens else 0 for role in roles]
    shown, left_out = largest(roles, totals, _MOST_ROWS)
    sides: list[tuple[Callable[[Axes], None], str]] = []
    if tokens.keys() & set(shown):
        sides.append((lambda axes: _tokens(axes, [tokens.get(role) for role in shown]), "Tokens"))
    if costs.keys() & set(shown):
        sides.append((lambda axes: _cost(axes, [costs.get(role) for role in shown]), "Cost"))
    title = " and ".join(name for _, name in sides).capitalize() + " by role"
    figure = new_figure(title, height=1.25 + _ROW * len(shown) + (0.2 if left_out else 0.0))
    panels = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
    for (draw, _), axes in zip(sides, panels, strict=True):
        draw(axes)
        _rows(axes, shown)
    if left_out:
        note(figure, f"The {_MOST_ROWS} with the most tokens; {len(left_out):,} more are in the table.")
    return figure


def failed_turns(kinds: Sequence[FailureKind]) -> Figure:
    """Draw failed turns by kind, most frequent first."""
    ranked = sorted(kinds, key=lambda kind: (-kind.turns, describe_kind(kind.kind)))
    shown, left_out = ranked[:_MOST_ROWS], ranked[_MOST_ROWS:]
    figure = new_figure(
        "Failed turns by kind of failure", height=0.95 + _ROW * len(shown) + (0.2 if left_out else 0.0)
    )
    axes = figure.add_subplot()
    turns = [kind.turns for kind in shown]
    axes.barh(range(len(shown)), turns, height=0.6, color=COLORS[0])
    _ends(axes, turns, [f"{count:,}" for count in turns])
    _rows(axes, [describe_kind(kind.kind) for kind in shown])
    _amount_axis(axes, "failed turns")
    if left_out:
        more = sum(kind.turns for kind in left_out)
        note(figure, f"{len(left_out):,} rarer kinds, {more:,} turns together, are in the table.")
    return figure


def short(amount: float) -> str:
    """Return a number in few characters, as in 1.2M."""
    for unit, letter in _UNITS:
        if amount >= unit:
            return f"{amount / unit:.3g}{letter}"
    return f"{amount:.3g}"


def _tokens(axes: Axes, roles: Sequence[RoleTokens | None]) -> None:
    reported = [role or _NO_TOKENS for role in roles]
    prompt = [role.prompt_tokens or 0 for role in reported]
    completion = [role.completion_tokens or 0 for role in reported]
    totals = zip(reported, prompt, completion, strict=True)
    unknown = [max(0, role.total_tokens - read - written) for role, read, written in totals]
    parts = (
        ("prompt", prompt, COLORS[0], ""),
        ("completion", completion, COLORS[1], "////"),
        ("kind unknown", unknown, INK, ""),
    )
    ends = [0] * len(roles)
    for name, amounts, color, texture in parts:
        if any(amounts):
            face = "none" if texture else color
            axes.barh(range(len(roles)), amounts, left=ends, height=0.6, facecolor=face, edgecolor=color,
                      hatch=texture, linewidth=0.8, label=name)  # fmt: skip
        ends = [end + amount for end, amount in zip(ends, amounts, strict=True)]
    labels = [_MISSING if role is None else short(end) for end, role in zip(ends, roles, strict=True)]
    _ends(axes, ends, labels)
    _amount_axis(axes, "tokens")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2,
                columnspacing=1.2, handlelength=1.6)  # fmt: skip


def _cost(axes: Axes, roles: Sequence[RoleCost | None]) -> None:
    amounts = [role.usd if role else 0.0 for role in roles]
    axes.barh(range(len(roles)), amounts, height=0.6, color=COLORS[2])
    _ends(axes, amounts, [dollars(role.usd) if role else _MISSING for role in roles])
    _amount_axis(axes, "US dollars")


def _ends(axes: Axes, ends: Sequence[float], labels: Sequence[str]) -> None:
    """Write figures behind the bars, with room for them."""
    for row, (end, label) in enumerate(zip(ends, labels, strict=True)):
        axes.annotate(label, (end, row), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=SMALL)  # fmt: skip
    wide = (WIDTH - _LABEL - 1.0) / len(axes.figure.axes)  # at least; labels may be shorter
    room = [
        end / (1 - (inches_of(label, SMALL) + 0.15) / wide) for end, label in zip(ends, labels, strict=True)
    ]
    axes.set_xlim(0, max(room) or 1)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [fit(label, _LABEL) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _amount_axis(axes: Axes, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=unit != "US dollars"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: short(amount)))
    axes.set_xlabel(unit)
    grid(axes, "x")
