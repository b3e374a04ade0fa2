"""Servers whose chat template knows no tools: noticed at once, or found out by `tool_mode: auto`."""

from __future__ import annotations

import orjson
import pytest

from crm_assets.errors import ConfigError
from crm_assets.llm import ledger_totals
from crm_assets.reporting import RunInfo, compute_metrics
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop, models_at, offline_models, small_dataset, without_tools
from tests.llm.scripted_server import ScriptedServer


def settings(url: str, mode: str) -> dict[str, object]:
    models = models_at(url)
    return {**models, "agent": {**models["agent"], "tool_mode": mode}}


def run(loop: Loop, server: ScriptedServer, mode: str) -> RunFiles:
    files = loop.tasks(small_dataset(4), run=mode)
    loop.run(files, loop.config(settings(server.url, mode), name=mode), agent="student")
    return files


def kinds_of(files: RunFiles) -> list[str]:
    """What became of each turn."""
    sessions = [orjson.loads(line) for line in files.sessions.read_bytes().splitlines()]
    turns = [turn for one in sessions for turn in one["conversation_result"]["per_turn_results"]]
    return [turn["verification"] for turn in turns]


def test_a_server_that_ignores_tools_ends_the_run_and_says_what_to_set(loop: Loop):
    with (
        ScriptedServer(without_tools) as server,
        pytest.raises(ConfigError, match=r"ignores tools.*set agent\.tool_mode to text, or to auto"),
    ):
        run(loop, server, "native")


@pytest.mark.parametrize(("script", "found"), [(without_tools, "text"), (offline_models, "native")])
def test_auto_finds_out_once_which_mode_the_server_takes(loop: Loop, script: object, found: str):
    with ScriptedServer(script) as server:  # type: ignore[arg-type]
        files = run(loop, server, "auto")
    first, *rest = server.requests
    assert first.body["tool_choice"] == "required"
    assert all(("tools" in request.body) == (found == "native") for request in rest)
    agent = orjson.loads(files.run.read_bytes())["agent"]
    assert agent["tool_mode"] == found
    metrics = compute_metrics(files.sessions, run=RunInfo())
    assert any(kind != "no_tool_call" for kind in kinds_of(files))  # it does call in either
    # The question is paid for by the first session: ledger and sessions agree to the digit.
    totals = ledger_totals(files.ledger)
    assert totals["probe"].calls == 1
    for role, spent in totals.items():
        assert metrics.token_usage[role].total_tokens == spent.usage.total_tokens
        assert metrics.cost_usd[role].usd == spent.cost_usd


def test_a_replay_of_it_asks_no_model(loop: Loop):
    with ScriptedServer(without_tools) as server:
        recorded = run(loop, server, "auto")
        count = len(server.requests)
        files = loop.tasks(small_dataset(4), run="again")
        config = loop.config(settings(server.url, "auto"), name="auto")
        loop.run(files, config, agent="student", replay=recorded.ledger)
        assert len(server.requests) == count
    assert orjson.loads(files.run.read_bytes())["agent"]["tool_mode"] == "text"
    before, after = (sorted(each.ledger.read_bytes().splitlines()) for each in (recorded, files))
    assert before == after
