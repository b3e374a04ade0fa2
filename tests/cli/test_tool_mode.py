"""A server whose chat template knows no tools: smoke run and doctor say what to set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from crm_assets.workspace.project import Project
from tests.atlas.loop import models_at, offline_models, without_tools
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, refused

from .conftest import Run

WHAT_TO_SET = "set agent.tool_mode to text, or to auto"


def uncounted(request: Recorded) -> Scripted:
    """It counts no tokens either, so that only what its model does can show it."""
    answer = without_tools(request)
    return replace(answer, body={name: part for name, part in answer.body.items() if name != "usage"})


@pytest.fixture
def config(project: Project) -> Callable[[str, str], Path]:
    """Writes a configuration whose models are at an address."""

    def write(url: str, mode: str) -> Path:
        models = models_at(url)
        agent = {**models["agent"], "tool_mode": mode}
        path = project.root / f"{mode}.yaml"
        path.write_text(yaml.safe_dump({**models, "agent": agent}))
        return path

    return write


def test_a_smoke_run_ends_at_the_first_call_where_the_tokens_show_it(
    run: Run, config: Callable[[str, str], Path]
) -> None:
    with ScriptedServer(without_tools) as server:
        result = run("atlas", "smoke", "--dataset", "small", "--config", config(server.url, "native"))
        assert len([one for one in server.requests if "tools" in one.body]) == 1
    assert result.exit_code == 2
    assert "ignores tools" in result.stderr
    assert WHAT_TO_SET in result.stderr


def test_else_a_line_of_its_checklist_says_so(run: Run, config: Callable[[str, str], Path]) -> None:
    with ScriptedServer(uncounted) as server:
        result = run("atlas", "smoke", "--dataset", "small", "--config", config(server.url, "native"))
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "tools_called" in line]
    assert line.startswith("failed  tools_called: The student called no tool in")
    assert WHAT_TO_SET in line


@pytest.mark.parametrize(
    ("script", "mode", "line"),
    [
        (offline_models, "native", "ok      tool calls: openai/student calls tools"),
        (without_tools, "native", "broken  tool calls: openai/student was required to call a tool"),
        (uncounted, "native", "broken  tool calls: openai/student was required to call a tool"),
        (refused(400, "no tools here"), "native", "broken  tool calls: openai/student was required to"),
        (without_tools, "auto", "ok      tool calls: openai/student calls none; agent.tool_mode auto"),
        (refused(401, "whose key?"), "native", "broken  tool calls: openai/student is not open to"),
    ],
)
def test_doctor_asks_a_configurations_student_for_a_tool_call(
    run: Run, config: Callable[[str, str], Path], script: object, mode: str, line: str
) -> None:
    with ScriptedServer(script) as server:  # type: ignore[arg-type]
        result = run("doctor", "--config", config(server.url, mode))
    assert len(server.requests) == 1
    (found,) = [each for each in result.stdout.splitlines() if "tool calls" in each]
    assert found.startswith(line)
    assert (result.exit_code, WHAT_TO_SET in found) == (
        (0, False) if line.startswith("ok") else (1, "required" in line)
    )


def test_doctor_asks_nothing_where_the_prompt_holds_the_tools(
    run: Run, config: Callable[[str, str], Path]
) -> None:
    with ScriptedServer(without_tools) as server:
        result = run("doctor", "--config", config(server.url, "text"))
        assert server.requests == []
    assert "ok      tool calls: agent.tool_mode is text" in result.stdout
