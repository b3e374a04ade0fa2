"""`make soak`: stops small runs at many points, goes on, and writes what came of it to docs/reliability.md.

What is done is kept in `.soak/`, so that a stopped soak goes on; `rm -r .soak` begins again.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import orjson

from tests.projects import REPOSITORY
from tests.soak.events import DISK_FULL, KILL
from tests.soak.ground import Ground, open_ground
from tests.soak.kills import Point, Stopper, open_stopper, places_of_files, spread
from tests.soak.outages import FIRST_STARTS, OUTAGES, kill_first_start, suffer
from tests.soak.pairs import FIRST, meet
from tests.soak.table import PAGE, PARTS, write_table

Work = Callable[[], Sequence[Point]]


class Results:
    """The points that are done, in a file that survives a stop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._path, self._lock = path, threading.Lock()
        self._began = time.monotonic()
        lines = path.read_bytes().splitlines() if path.exists() else []
        self.points = [Point(**orjson.loads(line)) for line in lines]

    def add(self, points: Sequence[Point]) -> None:
        """Keep points, and tell of them."""
        with self._lock, self._path.open("ab") as handle:
            for point in points:
                self.points.append(point)
                handle.write(orjson.dumps(asdict(point)) + b"\n")
                where = f"{point.action} at {point.at} ({point.event})" if point.at else point.event
                said = "; ".join(point.wrong)[:1000] or "as it should be"
                click.echo(f"{time.monotonic() - self._began:6.0f} s {where}: {said}")

    def has(self, action: str, at: int = 0, event: str | None = None) -> bool:
        """Tell if a point is done."""
        return any(
            (one.action, one.at) == (action, at) and event in (None, one.event) for one in self.points
        )


def main() -> int:
    """Run what is missing, and write the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--points", type=int, default=200, help="kills")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to do, separated by commas")
    parser.add_argument("--kept", type=Path, default=REPOSITORY / ".soak" / "points.jsonl")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is stopped
    parts, results = options.parts.split(","), Results(options.kept)
    with open_ground() as ground, open_stopper(ground) as first:
        _stop_runs(ground, first, results, parts, points=options.points, jobs=options.jobs)
        for work in _alone(first, results, parts):
            results.add(work())
    write_table(PAGE, results.points)
    wrong = [point for point in results.points if point.wrong]
    click.echo(f"{len(results.points)} points, {len(wrong)} of them wrong; see {PAGE}")
    return 1 if wrong else 0


def _stop_runs(
    ground: Ground, first: Stopper, results: Results, parts: Sequence[str], *, points: int, jobs: int
) -> None:
    """Stop runs at events, several at a time, each thread with a model server of its own."""
    wanted: list[tuple[str, int]] = []
    if KILL in parts:
        wanted += [(KILL, at) for at in spread(len(first.reference.events), points)]
    if DISK_FULL in parts:
        wanted += [(DISK_FULL, at) for at in places_of_files(first.reference.events)]
    wanted.sort(key=lambda one: one[1] * 73 % 101)  # in no order: a part of them says something, too
    missing = [(action, at) for action, at in wanted if not results.has(action, at)]
    click.echo(f"{len(first.reference.events)} events; {len(missing)} of {len(wanted)} points to do")
    local = threading.local()

    def do(action: str, at: int) -> None:
        if not hasattr(local, "stopper"):
            local.stopper = stack.enter_context(open_stopper(ground, first.reference))
        results.add([local.stopper.stop(action, at)])

    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        try:
            for done in [pool.submit(do, action, at) for action, at in missing]:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _alone(stopper: Stopper, results: Results, parts: Sequence[str]) -> Iterator[Work]:
    """Yield what is done with nothing beside it: it restarts servers, or halts processes."""
    if "outage" in parts:
        for outage in OUTAGES:
            if not results.has("outage", event=outage.name):
                yield partial(_one, partial(suffer, stopper, outage))
    if "first start" in parts:
        for pattern in FIRST_STARTS:
            if not results.has("first start", event=f"{pattern} is there"):
                yield partial(_one, partial(kill_first_start, pattern))
    if "pair" in parts:
        for name in FIRST:
            if not results.has("pair", event=f"{name} and {FIRST[0]}"):
                yield partial(meet, stopper, name)


def _one(make: Callable[[], Point]) -> Sequence[Point]:
    return [make()]


if __name__ == "__main__":
    sys.exit(main())
