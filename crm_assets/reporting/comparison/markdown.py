"""A comparison in Markdown, in short: for the history's page and the metadata of its asset."""

from __future__ import annotations

from crm_assets.reporting.comparison.models import Comparison
from crm_assets.reporting.comparison.wording import (
    FIGURES,
    MEASURE_NAMES,
    could_have_shown,
    counts_of_flips,
    figures,
    headline,
    p_value,
)
from crm_assets.reporting.markdown import code, escape, table

__all__ = ["render_markdown"]

_HEADER = ("Measure", *FIGURES, "Of", "p", "Could have shown")


def render_markdown(comparison: Comparison) -> str:
    """What differs on the whole; slices, and what flipped, are on the page of `crm-assets compare`."""
    a, b = comparison.a.run, comparison.b.run
    rows = [
        (
            MEASURE_NAMES[each.measure],
            *figures(each),
            f"{each.paired.conversations:,}",
            p_value(each.paired.p_value),
            could_have_shown(each),
        )
        for each in comparison.measures
        if each.paired.conversations
    ]
    command = f"crm-assets compare {comparison.dataset} {a} {b}"
    return "\n\n".join(
        [
            f"A is {code(a)}, B is {code(b)}, conversation by conversation.",
            f"**{headline(comparison)}**",
            *map(escape, comparison.notes),
            table(_HEADER, rows),
            f"{counts_of_flips(comparison)} Which, and by workflow: {code(command)}.",
        ]
    )
