"""Takes servers away from a run: backends, the whole Postgres, the models; and kills a first start."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psycopg

from crm_assets.database import start_embedded, stop_embedded
from tests.llm.scripted_server import Recorded, Scripted, hang, rate_limited, refused, reset
from tests.projects import ADDRESSES
from tests.seaweed import seaweed
from tests.servers import discard_server
from tests.soak.ground import DATASET, RUN, Place, lonely_place
from tests.soak.kills import BASELINE, Point, Stopper, same_each_time
from tests.waiting import eventually

__all__ = ["FIRST_STARTS", "OUTAGES", "kill_first_start", "suffer"]

_AWAY_SECONDS = 5.0
_AT_REQUEST = 12
_FAULTY_ANSWERS = 6
_TIMEOUT_SECONDS = 20.0
FIRST_STARTS = (
    "pg.lock",
    "pg.new-*",
    "pg.new-*/PG_VERSION",
    "pg.new-*/global/pg_control",
    "pg.new-*/base/5",
    "pg/postgresql.conf",
    "pg/postmaster.opts",
    "pg/postmaster.pid",
)
"""What is looked for in the project's state folder: a first start is killed as soon as it is there."""

Happens = Callable[[Stopper, Place], None]


@dataclass(frozen=True)
class _Outage:
    name: str
    happens: Happens
    """What is done when the request number `_AT_REQUEST` arrives."""
    answers: Callable[[Recorded], Scripted] = same_each_time
    """What the models answer from then on, `_FAULTY_ANSWERS` times."""
    model: Mapping[str, float] = field(default_factory=dict)
    """More of the models' configuration."""
    in_store: bool = False
    """The artifacts are in object storage."""


def _nothing(stopper: Stopper, place: Place) -> None:
    """Let the models' answers be all that happens."""


def _terminate(kind: str) -> Happens:
    def terminate(stopper: Stopper, place: Place) -> None:
        name = place.environment["DB_NAME"] if kind == "sandbox" else _database_of(place, kind)
        with psycopg.connect(_server_of(place), autocommit=True) as admin:
            rows = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s", (name,)
            ).fetchall()
        assert rows[0][0] > 0, f"nobody was connected to {name}"

    return terminate


def _database_of(place: Place, kind: str) -> str:
    with psycopg.connect(place.environment[ADDRESSES[kind]].replace("+psycopg2", "")) as connection:
        return connection.info.dbname


def _server_of(place: Place) -> str:
    parts = {name: place.environment[f"DB_{name.upper()}"] for name in ("host", "port", "user")}
    return psycopg.conninfo.make_conninfo(**parts, dbname="postgres")


def _restart_postgres(stopper: Stopper, place: Place) -> None:
    stop_embedded(stopper.ground.server)
    threading.Timer(_AWAY_SECONDS, lambda: start_embedded(stopper.ground.server)).start()


def _leave(stopper: Stopper, place: Place) -> None:
    stopper.server.leave(_AWAY_SECONDS)


def _restart_store(stopper: Stopper, place: Place) -> None:
    assert place.store is not None
    place.store.leave(_AWAY_SECONDS)


OUTAGES = (
    _Outage("sandbox database: backends terminated", _terminate("sandbox")),
    _Outage("telemetry database: backends terminated", _terminate("atlas")),
    _Outage("Dagster's database: backends terminated", _terminate("dagster")),
    _Outage(f"all databases: server away for {_AWAY_SECONDS:g} s", _restart_postgres),
    _Outage(f"object storage: killed, and away for {_AWAY_SECONDS:g} s", _restart_store, in_store=True),
    _Outage(f"model server: away for {_AWAY_SECONDS:g} s", _leave),
    _Outage(f"model server: {_FAULTY_ANSWERS} answers of 503", _nothing, lambda _: refused(503)),
    _Outage(f"model server: {_FAULTY_ANSWERS} answers of 429", _nothing, lambda _: rate_limited()),
    _Outage(f"model server: {_FAULTY_ANSWERS} connections reset", _nothing, lambda _: reset()),
    _Outage(
        f"model server: {_FAULTY_ANSWERS} answers that never come",
        _nothing,
        lambda _: hang(),
        {"timeout_seconds": _TIMEOUT_SECONDS},
    ),
)


def suffer(stopper: Stopper, outage: _Outage) -> Point:
    """Let a run suffer an outage; go on if it stopped, and compare with the reference."""
    point = Point("outage", 0, outage.name)
    seen = 0

    with ExitStack() as stack:
        place = stack.enter_context(stopper.place(**outage.model))
        if outage.in_store:
            place.keep_artifacts_in(stack.enter_context(seaweed()))

        def script(request: Recorded) -> Scripted:
            nonlocal seen
            seen += 1
            if seen == _AT_REQUEST:
                outage.happens(stopper, place)
            faulty = _AT_REQUEST <= seen < _AT_REQUEST + _FAULTY_ANSWERS
            return (outage.answers if faulty else same_each_time)(request)

        stopper.server.script = script
        try:
            ended = place.run(*BASELINE)
        finally:
            stopper.server.script = same_each_time
        assert seen >= _AT_REQUEST
        stopper.judge(point, place, ended, expected=(0, 3))
    return point


def kill_first_start(pattern: str) -> Point:
    """Kill a project's first command once it has got so far with the embedded server; give it again."""
    point = Point("first start", 0, f"{pattern} is there", state="no server", command="the same command")
    command = ("runs", "new", "--dataset", DATASET, "--run", RUN)
    with lonely_place("http://127.0.0.1:9/v1") as place:
        process = place.start(*command)
        there = eventually(lambda: [*place.project.state.glob(pattern)], every_seconds=0.001)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        killed = process.wait()
        if not there or killed.exit_code != -signal.SIGKILL:
            point.wrong.append(f"it was not killed: {killed.exit_code}, {killed.err[-500:]}")
        again = place.run(*command)
        point.stuck, point.tracebacks = int(again.stuck), int(again.traceback)
        if again.exit_code or again.traceback:
            point.wrong.append(f"{again.exit_code}: {again.err[-1000:]}")
        discard_server(place.project)
    return point
