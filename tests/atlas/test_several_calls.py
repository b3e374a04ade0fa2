"""A run whose student asks for several calls a turn: who is shown them, and that it can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from crm_assets.atlas.config_file import load_config
from crm_assets.audit.leakage import find_leaks
from crm_assets.reporting import RunInfo, compute_metrics
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import (
    KEY,
    Loop,
    asked,
    loop_project,
    models_at,
    offline_models,
    role_of,
    small_dataset,
    telemetry_rows,
    without_times,
)
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer
from tests.projects import ProjectDatabases

SEARCH = {"id": "first", "type": "function", "function": {"name": "quote_prefixes", "arguments": "{}"}}


def looks_first(request: Recorded) -> Scripted:
    """The offline models, but the student looks something up beside each call."""
    answer = offline_models(request)
    message = answer.body["choices"][0]["message"]
    if role_of(request) == "student" and message.get("tool_calls"):
        message["tool_calls"].insert(0, SEARCH)
    return answer


@dataclass(frozen=True)
class Played:
    loop: Loop
    files: RunFiles
    requests: list[Recorded]
    lines: list[Any]


@pytest.fixture(scope="module", params=["one", "many"])
def played(request: pytest.FixtureRequest, project_databases: ProjectDatabases) -> Iterator[Played]:
    with loop_project(project_databases) as loop, ScriptedServer(looks_first) as server:
        setting = {"agent": {"calls_per_turn": request.param}, "orchestration": {"max_retries": 0}}
        config = loop.config(models_at(server.url), setting, name=request.param)
        files = loop.tasks(small_dataset(2), run=request.param)
        loop.run(files, config, learning="off")
        yield Played(loop, files, list(server.requests), loop.lines(files))


def turns(played: Played) -> list[Any]:
    return [turn for line in played.lines for turn in line["conversation_result"]["per_turn_results"]]


def test_all_calls_are_made_or_said_not_to_be(played: Played):
    many = played.files.folder.parent.name == "many"
    for turn in turns(played):
        first, second = turn["calls"]
        assert (first["tool_name"], first["made"], second["made"]) == ("quote_prefixes", True, many)
        assert turn["tool_success"] is (many and second["tool_name"] == turn["tool_name"])
    metrics = compute_metrics(played.files.sessions, run=RunInfo())
    assert metrics.turns_with_further_calls == (0 if many else len(turns(played)))
    assert (metrics.turn_tool_success.successes > 0) is many


def test_teacher_judges_and_telemetry_have_all_of_them(played: Played):
    names = {turn["calls"][1]["tool_name"] for turn in turns(played)}
    for role in ("teacher", "judge"):
        shown = "".join(asked(played.requests, role))
        assert all(f'\\"tool\\": \\"{name}\\"' in shown for name in names)
        assert '\\"made\\"' in shown
    rows = telemetry_rows(played.loop)
    assert '"made"' in rows.replace("\\", "")


def test_every_request_can_be_derived_again(played: Played):
    path = played.loop.project.configs / f"{played.files.folder.parent.name}.yaml"
    config = load_config(path, environment={"OPENAI_API_KEY": KEY})
    found = find_leaks(played.files, config, atlas=True, sample=9)
    assert found.problems == ()
    assert found.derived == found.recorded > 0


def test_a_replay_of_the_ledger_comes_to_the_same(played: Played):
    name = played.files.folder.parent.name
    again = played.loop.tasks(small_dataset(2), run=f"{name}-again")
    played.loop.run(
        again, played.loop.project.configs / f"{name}.yaml", learning="off", replay=played.files.ledger
    )
    results = [
        orjson.dumps(without_times([line["conversation_result"] for line in lines]))
        for lines in (played.lines, played.loop.lines(again))
    ]
    assert results[0] == results[1]
