"""The Atlas SDK itself reads what we store: its exporter, and its access to training data."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from psycopg.conninfo import conninfo_to_dict

from crm_assets.atlas.config import DriftConfig
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry import (
    Review,
    SessionEnd,
    SessionStart,
    TelemetryStore,
    TrajectoryEvent,
    detect_drift,
    trace_of,
)
from tests.atlas.sdk.environment import sdk_folder
from tests.waiting import HANG_SECONDS

from .build import KEY, NO_REWARD, end, learn, reward, start

pytestmark = pytest.mark.whole

# Everything in one process: importing the SDK takes seconds.
READ = """
import asyncio, json, sys
from atlas.config.models import StorageConfig
from atlas.runtime.storage.database import Database
from atlas.training_data import get_training_sessions

url, key = sys.argv[1:]

def traces(**filters):
    return [trace.to_dict() for trace in get_training_sessions(url, **filters)]

async def learn():
    database = Database(StorageConfig(database_url=url))
    await database.connect()
    state = await database.fetch_learning_state(key)
    await database.upsert_learning_state(key, "By the SDK.", state["teacher_learning"], state["metadata"])
    baseline = await database.fetch_reward_baseline(key)
    await database.disconnect()
    return {"state": state, "baseline": baseline}

print(json.dumps({
    "all": traces(),
    "good": traces(min_reward=0.5, learning_key=key),
    "approved": traces(review_status_filters=["approved"]),
    "failed": traces(status_filters=["failed"]),
    "learnt": asyncio.run(learn()),
}, default=str))
"""


@pytest.fixture(scope="session")
def sdk() -> Path:
    """The bin folder of an environment with the SDK."""
    return sdk_folder()


def execute(command: list[str | Path]) -> str:
    """What a program of the SDK's environment prints."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def url_of(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"


Stored = list[tuple[SessionStart, SessionEnd, LearningState | None]]


@pytest.fixture(scope="module")
def database(make_telemetry_database: Callable[[], str]) -> str:
    """A database for this module."""
    return make_telemetry_database()


@pytest.fixture(scope="module")
def sessions(database: str) -> Stored:
    """Sessions of every kind, stored."""
    drift = detect_drift([(0.9, 0.1)] * 6, 0.2, 0.1, DriftConfig())
    many = tuple(TrajectoryEvent("CUSTOM_END", f"event {number}", "judge") for number in range(200))
    ends = [
        end(),
        end(1, attempts=1, reward=reward(0.0), review=Review("approved", None)),
        end(3, drift=drift, review=Review("pending", "Drift."), events=many),
        end(reward=NO_REWARD, student_note=None, teacher_note=None),
        SessionEnd("failed", None, None, error="The model could not be had."),
    ]
    stored: Stored = []
    with TelemetryStore(database) as store:
        for number, ended in enumerate(ends, start=1):
            begun = start(number)
            merge = learn if ended.reward and ended.reward.score else None
            stored.append((begun, ended, store.persist(store.begin(begun), ended, merge)))
    return stored


@pytest.fixture(scope="module")
def found(sdk: Path, database: str, sessions: Stored) -> dict[str, Any]:
    """What the SDK finds of them."""
    assert sessions
    answers: dict[str, Any] = orjson.loads(execute([sdk / "python", "-c", READ, url_of(database), KEY]))
    return answers


def test_the_exporter_writes_every_session_as_our_traces_say(
    sdk: Path, database: str, sessions: Stored, tmp_path: Path
) -> None:
    file = tmp_path / "f.jsonl"
    command = [sdk / "arc-atlas", "--database-url", url_of(database), "--include-all-statuses"]
    execute([*command, "--output", file])
    exported = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert len(exported) == len(sessions)
    for line, (begun, ended, learnt) in zip(reversed(exported), sessions, strict=True):
        wanted = orjson.loads(orjson.dumps(trace_of(begun, ended, learnt)))
        assert missing(wanted, line) == []
        assert len(line["steps"]) == len(ended.steps)
        assert len(line.get("trajectory_events", [])) == len(ended.events)
        assert line["session_metadata"]["status"] == ended.status


def missing(wanted: dict[str, Any], line: dict[str, Any]) -> list[str]:
    """What a line of the exporter does not have as our trace has it; it may have more."""
    wrong = [
        name
        for name in wanted
        if name not in ("steps", "session_metadata", "trajectory_events") and line.get(name) != wanted[name]
    ]
    metadata = line["session_metadata"]
    wrong += [name for name, value in wanted["session_metadata"].items() if metadata.get(name) != value]
    for planned, step in zip(wanted["steps"], line["steps"], strict=True):
        scored = planned.pop("reward")
        wrong += [name for name, value in planned.items() if not _has(step[name], value)]
        if scored:
            wrong += [name for name in ("score", "judges") if step["reward"][name] != scored[name]]
    for happened, event in zip(wanted["trajectory_events"], line.get("trajectory_events", []), strict=True):
        wrong += [name for name, value in happened.items() if event[name] != value]
    return wrong


def _has(found: Any, wanted: Any) -> bool:
    """Whether it is what is wanted; an object may have more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and wanted.items() <= found.items()
    return bool(found == wanted)


def test_training_data_has_every_session_reward_step_and_event(
    found: dict[str, Any], sessions: Stored
) -> None:
    traces = found["all"]
    assert len(traces) == len(sessions)
    for trace, (begun, ended, learnt) in zip(reversed(traces), sessions, strict=True):
        wanted = orjson.loads(orjson.dumps(trace_of(begun, ended, learnt)))
        assert (trace["task"], trace["final_answer"]) == (begun.task, ended.final_answer or "")
        assert trace["plan"] == wanted["plan"]
        assert trace["session_reward"] == wanted.get("session_reward")
        assert (trace["student_learning"], trace["teacher_learning"]) == (
            ended.student_note,
            ended.teacher_note,
        )
        assert trace["session_metadata"].items() >= wanted["session_metadata"].items()
        assert [step["step_id"] for step in trace["steps"]] == [step.id for step in ended.steps]
        for step, planned in zip(trace["steps"], wanted["steps"], strict=True):
            assert step["reward"]["score"] == planned["reward"].get("score", 0.0)
            assert step["validation"] == planned["validation"]
            assert (step["tool"], step["tool_params"]) == (planned["tool"], planned["tool_params"])
            assert (step["attempts"], step["guidance"]) == (planned["attempts"], planned["guidance"])
        events = [orjson.loads(event["event"]) for event in reversed(trace["trajectory_events"] or [])]
        assert events == [event["event"] for event in wanted["trajectory_events"]]


def test_training_data_can_be_filtered(found: dict[str, Any], sessions: Stored) -> None:
    tasks = {name: [trace["task"] for trace in found[name]] for name in ("good", "approved", "failed")}
    assert tasks["good"] == [sessions[number][0].task for number in (2, 0)]
    assert tasks["approved"] == [sessions[1][0].task]
    assert tasks["failed"] == [sessions[4][0].task]


def test_the_sdk_reads_and_writes_what_was_learnt(found: dict[str, Any], database: str) -> None:
    state, baseline = found["learnt"]["state"], found["learnt"]["baseline"]
    assert state["student_learning"] == "Search first."
    assert [entry["id"] for entry in state["metadata"]["playbook_entries"]] == ["e-1", "e-2"]
    assert baseline["scores"] == [0.75, 0.0, 0.75]
    with TelemetryStore(database) as store:
        after = store.learning_state(KEY)
    assert (after.student_learning, after.version) == ("By the SDK.", 2)
    assert [entry.id for entry in after.entries] == ["e-1", "e-2"]
