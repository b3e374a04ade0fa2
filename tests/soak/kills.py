"""Kills a small run at one of its writes, goes on with the command that is named, and compares."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import psycopg

from crm_assets.llm import LedgerEntry, read_ledger
from crm_assets.workspace.states import RunState, status_of
from tests.atlas.loop import differences, offline_models, without_times
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer
from tests.projects import ADDRESSES
from tests.soak.events import KILL
from tests.soak.ground import CONVERSATIONS, DATASET, RUN, Ended, Ground, Place

__all__ = [
    "BASELINE",
    "Point",
    "Reference",
    "Stopper",
    "open_stopper",
    "places_of_files",
    "same_each_time",
    "spread",
]

BASELINE = (
    *("baseline", "--dataset", DATASET, "--run", RUN),
    *("--config", "configs/atlas/soak.yaml", "--concurrency", "4"),
)
_LATENCY_SECONDS = 0.02
_NOBODY_THERE = "cannot connect to"
"""What the message of a call says that no server got."""
_OF_REFUSED = re.compile(r"metrics\.token_usage\.\w+\.(calls|failed_calls|unknown_\w+):")
"""Figures that count calls which the model server refused, too."""
_MOST_UNDER_WAY = CONVERSATIONS * 3
"""Each session asks up to three judges at a time, otherwise one model after the other."""


@dataclass(frozen=True)
class Reference:
    """A run that nothing disturbed."""

    metrics: Any
    sessions: tuple[str, ...]
    files: frozenset[str]
    requests: int
    events: tuple[str, ...]


@dataclass
class Point:
    """What came of one stop."""

    action: str
    at: int
    event: str
    state: str = ""
    """The state that the files were in."""
    command: str = ""
    """The command that went on."""
    lost: int = 0
    doubled: int = 0
    under_way: int = 0
    """Calls that were not booked when the process was killed."""
    paid_twice: int = 0
    stuck: int = 0
    tracebacks: int = 0
    wrong: list[str] = field(default_factory=list)
    """What does not hold, a sentence each."""


def spread(total: int, points: int) -> list[int]:
    """Return the numbers of `points` events of `total`, evenly spread, from 1."""
    points = min(points, total)
    return [1 + (2 * n + 1) * total // (2 * points) for n in range(points)]


@dataclass
class Stopper:
    """Stops runs and goes on with them, on one model server."""

    ground: Ground
    server: ScriptedServer
    reference: Reference
    _asked: int = 0

    def stop(self, action: str, at: int) -> Point:
        """Stop a fresh run at an event, go on, and compare with the reference."""
        point = Point(action, at, self.reference.events[min(at, len(self.reference.events)) - 1])
        with self.place() as place:
            stopped = place.run(*BASELINE, action=action, at=at)
            reached = len(stopped.events) >= at
            if reached:
                point.event = stopped.events[at - 1]
            self.judge(point, place, stopped, expected=(-9,) if action == KILL and reached else (0, 3))
        return point

    @contextmanager
    def place(self, **model: float) -> Iterator[Place]:
        """Yield a fresh project whose models are those of this stopper; see `Ground.place`."""
        self._asked = len(self.server.requests)
        with self.ground.place(self.server.url, **model) as place:
            yield place

    def judge(self, point: Point, place: Place, stopped: Ended, *, expected: Sequence[int]) -> None:
        """Look at a run that was stopped, go on with it, and compare it with the reference."""
        self._check_stop(point, stopped, expected)
        booked = _calls_that_arrived(place)
        point.under_way = len(self.server.requests) - self._asked - len(booked)
        if point.under_way > _MOST_UNDER_WAY:
            point.wrong.append(f"{point.under_way} calls not booked")
        refused = sum(entry.error is not None for entry in booked)
        self._go_on(point, place)
        asked = len(self.server.requests) - self._asked
        point.paid_twice = asked - refused - self.reference.requests
        if point.paid_twice > point.under_way:
            point.wrong.append(f"{point.paid_twice} calls paid twice, {point.under_way} were under way")
        self._compare(point, place, refused)

    def _check_stop(self, point: Point, stopped: Ended, expected: Sequence[int]) -> None:
        point.tracebacks += stopped.traceback
        if stopped.stuck:
            point.stuck += 1
            point.wrong.append("the process that was to be stopped is stuck")
        elif stopped.exit_code not in expected:
            point.wrong.append(f"it ended with {stopped.exit_code}: {stopped.err[-500:]}")
        elif stopped.exit_code == 3 and "Error: " not in stopped.err:
            point.wrong.append(f"no sentence: {stopped.err[-500:]}")
        if stopped.traceback:
            point.wrong.append(f"traceback: {stopped.err[-1500:]}")

    def _go_on(self, point: Point, place: Place) -> None:
        status = status_of(place.paths)
        point.state = status.state.value
        if status.state is RunState.FINISHED:
            point.command = "none"
        else:
            named = status.command if place.paths.plan.exists() else None  # else nothing was begun yet
            words = shlex.split(named)[1:] if named else list(BASELINE)
            point.command = "the command that runs list names" if named else "the same command"
            self._succeeds(point, place.run(*words))
        self._succeeds(point, place.run("lineage", DATASET, RUN, "--verify"))

    def _succeeds(self, point: Point, ended: Ended) -> None:
        point.stuck += ended.stuck
        point.tracebacks += ended.traceback
        if ended.exit_code or ended.traceback:
            point.wrong.append(
                f"{ended.command}: {ended.exit_code}: {ended.out[-700:]} {ended.err[-1500:]}"
            )

    def _compare(self, point: Point, place: Place, refused: int) -> None:
        sessions = _sessions(place)
        point.lost = len(set(self.reference.sessions) - set(sessions))
        point.doubled = len(sessions) - len(set(sessions))
        if sessions != self.reference.sessions:
            point.wrong.append(f"sessions {sessions} instead of {self.reference.sessions}")
        if not place.paths.metrics.exists():
            point.wrong.append("no metrics")
            return
        found = differences(self.reference.metrics, _metrics(place, self.server.url), "metrics")
        point.wrong += [each for each in found if not (refused and _OF_REFUSED.match(each))]
        extra = _files(place) ^ self.reference.files
        point.wrong += [f"{name} is there or missing" for name in sorted(extra)]
        if point.command != "none":
            point.wrong += _left_open(place)


def _calls_that_arrived(place: Place) -> list[LedgerEntry]:
    """Return what the ledger has of calls that the model server got."""
    if not place.paths.ledger.exists():
        return []
    entries = list(read_ledger(place.paths.ledger))
    return [one for one in entries if one.error is None or _NOBODY_THERE not in one.error.message]


_VARIES = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
)
_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def same_each_time(request: Recorded) -> Scripted:
    """The offline models, but judges that neither see new IDs and times nor count their characters."""
    body = request.body
    if body["model"] != "student":
        body = orjson.loads(_VARIES.sub("x", request.text))
    answer = offline_models(replace(request, body=body))
    return replace(answer, body={**answer.body, "usage": _USAGE})


@contextmanager
def open_stopper(ground: Ground, reference: Reference | None = None) -> Iterator[Stopper]:
    """Yield a stopper with a model server of its own; without a reference, it makes one first."""
    with ScriptedServer(same_each_time, latency_seconds=_LATENCY_SECONDS) as server:
        yield Stopper(ground, server, reference or _undisturbed(ground, server))


def _undisturbed(ground: Ground, server: ScriptedServer) -> Reference:
    with ground.place(server.url) as place:
        ended = place.run(*BASELINE, count=True)
        assert ended.exit_code == 0, ended.err
        made = (_metrics(place, server.url), _sessions(place), _files(place))
        reference = Reference(*made, len(server.requests), tuple(ended.events))
    assert sum(event.startswith("statement") for event in reference.events) > 50, "psycopg has changed"
    return reference


def _metrics(place: Place, url: str) -> Any:
    text = place.paths.metrics.read_text().replace(url, "URL")
    metrics = without_times(orjson.loads(text))
    metrics["playbook"].pop("sha256_after")  # of entries that have a time
    return metrics


def _sessions(place: Place) -> tuple[str, ...]:
    if not place.paths.sessions.exists():
        return ()
    lines: Sequence[bytes] = place.paths.sessions.read_bytes().splitlines()
    return tuple(f"{(one := orjson.loads(line))['task_id']}#{one.get('epoch', 1)}" for line in lines)


def _files(place: Place) -> frozenset[str]:
    folder = place.paths.folder
    return frozenset(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def _left_open(place: Place) -> list[str]:
    """Return what a stopped process left open: sessions that run, leases that are held."""
    with psycopg.connect(place.environment[ADDRESSES["atlas"]]) as connection:
        running = connection.execute("SELECT count(*) FROM sessions WHERE status = 'running'").fetchall()
    with psycopg.connect(place.environment[ADDRESSES["dagster"]].replace("+psycopg2", "")) as connection:
        leases = connection.execute("SELECT count(*) FROM crm_assets_leases").fetchall()
    found = {"sessions still running": running[0][0], "leases still held": leases[0][0]}
    return [f"{count} {name}" for name, count in found.items() if count]


def places_of_files(events: Sequence[str]) -> list[int]:
    """Return the numbers of the events that first write each file or make each folder."""
    seen: set[str] = set()
    found = []
    for number, event in enumerate(events, 1):
        verb, _, name = event.partition(" ")
        takes_room = verb in ("open", "mkdir", "write") and not name.startswith("of a descriptor")
        if takes_room and event not in seen:
            seen.add(event)
            found.append(number)
    return found
