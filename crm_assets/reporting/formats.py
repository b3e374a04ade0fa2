"""Figures and texts as people read them."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath

from crm_assets.reporting.figures import Mean, Rate

__all__ = [
    "NOTHING",
    "at_least",
    "counted",
    "dollars",
    "interval",
    "number",
    "of",
    "own_and_recorded",
    "percent",
    "plain",
    "relative",
    "share",
    "spread",
    "visible",
    "with_interval",
]

NOTHING = "–"
_ABSOLUTE = re.compile(r"(?<![\w/:.~-])(?:[A-Za-z]:[\\/]|~?/)(?:[^\s/\\'\"|`]+[\\/])+")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, in the plural (by default with an s) unless the count is 1."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def share(value: float | None) -> str:
    """Return a share as a percentage; only 1 is 100.0%, and only 0 is 0.0%."""
    if value is None:
        return NOTHING
    text = f"{value * 100:.1f}%"
    if text == "100.0%" and value < 1:
        return ">99.9%"
    if text == "0.0%" and value > 0:
        return "<0.1%"
    return text


def percent(rate: Rate) -> str:
    """Return the value of a rate."""
    return share(rate.value)


def interval(rate: Rate | Mean) -> str:
    """Return the interval of a rate, or of a mean of shares."""
    if rate.low is None or rate.high is None:
        return NOTHING
    return f"{rate.low * 100:.1f}–{rate.high * 100:.1f}%"


def of(rate: Rate) -> str:
    """Return the counts of a rate."""
    return f"{rate.successes:,} of {rate.count:,}" if rate.count else NOTHING


def with_interval(rate: Rate) -> str:
    """Return a rate as part of a sentence: value, counts, interval."""
    if rate.value is None:
        return "no verdict"
    return f"{percent(rate)} ({of(rate)}; 95% interval {interval(rate)})"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def dollars(value: float | None) -> str:
    """Return US dollars, with the digits that small amounts need."""
    if value is None:
        return NOTHING
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def own_and_recorded(own: str, recorded: str) -> str:
    """Return what a run used itself, and beside it what the run used that it repeats."""
    return own if recorded == NOTHING else f"{own} (recorded: {recorded})"


def at_least(text: str, unknown: int) -> str:
    """Return a sum's text as the least it was, where `unknown` of its parts are missing."""
    return f"≥ {text}" if unknown and text != NOTHING else text


def spread(mean: Mean, digits: int) -> str:
    """Return the interval of a mean."""
    if mean.low is None or mean.high is None:
        return NOTHING
    return f"{number(mean.low, digits)}–{number(mean.high, digits)}"


def relative(path: str | None) -> str | None:
    """Return a path that does not show the machine's folders: a relative one as it is, else its name."""
    if path is None:
        return None
    as_windows = PureWindowsPath(path)  # knows both kinds of separator
    return as_windows.name if as_windows.anchor or path.startswith("~") else path


def plain(text: str) -> str:
    """Return `text` on one line, without control characters and without folders of the machine."""
    return " ".join(visible(text).split())


def visible(text: str) -> str:
    """Return `text` without control characters but line ends, and without folders of the machine."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return _ABSOLUTE.sub("…/", text)
