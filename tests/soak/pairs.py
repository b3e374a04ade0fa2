"""Halts one command in the middle of its writes, and runs every other one on the same run meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from tests.soak.events import HALT
from tests.soak.ground import DATASET, RUN, Place
from tests.soak.kills import BASELINE, Point, Stopper
from tests.waiting import eventually

__all__ = ["FIRST", "meet"]

_PAST, _LABELS = "past.jsonl", "labels.csv"
_FOLDER = f"artifacts/baselines/{DATASET}/{RUN}/atlas"

COMMANDS: Mapping[str, Sequence[str]] = {
    "baseline": BASELINE,
    "baseline --overwrite": (*BASELINE, "--overwrite"),
    "baseline --resume": (*BASELINE, "--resume"),
    "tasks": ("tasks", "--dataset", DATASET, "--run", RUN, "--overwrite"),
    "backfill": ("backfill", *BASELINE[1:3], "--runs", RUN, "--here", "--overwrite", *BASELINE[5:]),
    "backfill --rescore": ("backfill", "--dataset", DATASET, "--runs", RUN, "--here", "--rescore"),
    "runs import": ("runs", "import", _PAST, "--dataset", DATASET, "--run", RUN),
    "runs restore": ("runs", "restore", DATASET, RUN),
    "label import": ("label", "import", DATASET, RUN, _LABELS),
    "atlas run": ("atlas", "run", "--task-file", f"{_FOLDER}/tasks.jsonl", "--output-dir", _FOLDER),
}
"""Commands that write a run's files."""

_ON_NOTHING = ("baseline", "runs import")
"""What begins a run; all others are given a finished baseline that replaced another one."""

_NEVER_FIRST = ("label import", "atlas run")
"""The one writes a single file and is over, the other finishes no baseline."""
FIRST = tuple(name for name in COMMANDS if name not in _NEVER_FIRST)


def meet(stopper: Stopper, first: str) -> list[Point]:
    """Halt `first` halfway, run every command beside it, let it end; a point for each pair."""
    with stopper.place() as place:
        _prepare(place, finished=first not in _ON_NOTHING)
        total = len(_rehearse(stopper, first))
        halted = place.start(*COMMANDS[first], action=HALT, at=max(1, total // 2))
        assert eventually(lambda: halted.marker.exists() or not halted.running)
        points = [_beside(place, first, name) for name in COMMANDS]
        halted.marker.unlink(missing_ok=True)
        ended = halted.wait()
        verified = place.run("lineage", DATASET, RUN, "--verify")
        if first != "tasks" and (ended.exit_code or verified.exit_code):
            points[0].wrong.append(f"{first} was disturbed: {ended.err[-800:]} {verified.out[-400:]}")
        return points


def _rehearse(stopper: Stopper, first: str) -> list[str]:
    """Return the events of the command when nothing is beside it."""
    with stopper.place() as place:
        _prepare(place, finished=first not in _ON_NOTHING)
        ended = place.run(*COMMANDS[first], count=True)
        assert ended.exit_code == 0, ended.err
        return ended.events


def _prepare(place: Place, *, finished: bool) -> None:
    """Bring a project into the state that a command begins from."""
    made = place.run(*BASELINE)
    assert made.exit_code == 0, made.err
    shutil.copy(place.paths.sessions, place.project.root / _PAST)
    labels = place.run("label", "export", DATASET, RUN, "-o", _LABELS)
    assert labels.exit_code == 0, labels.err
    if finished:
        again = place.run(*BASELINE, "--overwrite")
        assert again.exit_code == 0, again.err
    else:
        shutil.rmtree(place.paths.folder.parent)


def _beside(place: Place, first: str, second: str) -> Point:
    point = Point("pair", 0, f"{first} and {second}", command="refused")
    before = _contents(place)
    ended = place.run(*COMMANDS[second])
    point.stuck, point.tracebacks = int(ended.stuck), int(ended.traceback)
    said = ended.err + ended.out
    if ended.exit_code not in (2, 3) or ended.traceback:
        point.wrong.append(f"{second} beside {first}: {ended.exit_code}: {said[-800:]}")
    elif "is in use by" not in said:
        point.command = "refused for its state"
        point.state = said.strip().splitlines()[-1][:200]
    if _contents(place) != before:
        point.wrong.append(f"{second} changed files beside {first}")
    return point


def _contents(place: Place) -> Mapping[str, bytes]:
    folder = place.paths.folder.parent
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
