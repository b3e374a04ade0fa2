"""Agents of the user's own: tried on a conversation, and in a baseline."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import orjson
import pytest
import yaml

from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from .conftest import KEY, Run

AGENT = """
class Searcher:
    def turn(self, user, crm):
        crm.report_usage(prompt_tokens=3)
        return f"I found {len(crm.call('client_search', {'name': 'Acme'}))}."

class Broken:
    def turn(self, user, crm):
        raise LookupError("no such client")

class Silent:
    def turn(self, user, crm):
        print("thinking")
        return ""
"""


@pytest.fixture
def module(project: Project) -> str:
    """A module in the project's folder; each test has one of its own, as modules stay imported."""
    (project.root / "my_agent.py").write_text(AGENT)
    return "my_agent"


def own(project: Project, factory: str, changes: Mapping[str, object] = MappingProxyType({})) -> Path:
    """The development configuration with an agent of one's own."""
    config = yaml.safe_load((project.root / "configs" / "atlas" / "crm_harness.dev.yaml").read_text())
    del config["agent"]["llm"]
    config["agent"] |= {"type": "python", "factory": factory, "name": "mine", **changes}
    path = project.root / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_trying_an_agent_shows_its_turns_and_keeps_nothing(run: Run, project: Project, module: str) -> None:
    tried = run("agents", "try", f"{module}:Searcher", "--dataset", "small")
    assert tried.exit_code == 0, tried.output
    assert "client_search: done\n     agent: I found " in tried.stdout
    assert "!" not in tried.stdout
    assert not project.baselines.exists()


@pytest.mark.parametrize(
    ("factory", "exit_code", "said"),
    [
        ("Broken", 1, "! The agent failed: LookupError: no such client."),
        ("Silent", 0, "! It wrote to standard output: thinking"),
        ("Silent", 0, "! It called no tool: crm.call(name, arguments) calls one."),
        ("Silent", 0, "! It never replied to the user: turn() returns the reply."),
        ("Silent", 0, "! It reports no tokens"),
    ],
)
def test_what_is_wrong_with_an_agent_is_said_in_a_sentence(
    run: Run, module: str, factory: str, exit_code: int, said: str
) -> None:
    tried = run("agents", "try", f"{module}:{factory}", "--dataset", "small")
    assert (tried.exit_code, said in tried.stdout) == (exit_code, True), tried.output


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            "my:agent:",
            "my:agent: names no agent: write module:factory, http://host:port/path, or a program",
        ),
        ("http://me:secret@host/", "names no agent"),
        ("my_agent", "The agent my_agent cannot be used: there is no program my_agent."),
        ("my_agent:Nothing", "my_agent has no Nothing."),
        ("not_there:make", "No module named 'not_there'"),
    ],
)
def test_an_agent_that_is_not_there_is_named(run: Run, module: str, factory: str, said: str) -> None:
    tried = run("agents", "try", factory, "--dataset", "small")
    assert tried.exit_code == 2 and said in tried.stderr


def test_a_baseline_of_an_own_agent_says_whose_results_it_has(
    run: Run, project: Project, module: str
) -> None:
    config = own(project, f"{module}:Searcher")
    made = run("baseline", "--dataset", "small", "--run", KEY, "--config", str(config))
    assert made.exit_code == 0, made.output
    assert f"agent atlas ({module}:Searcher, offline/teacher" in made.output
    paths = BaselinePaths.of(project, BaselineKey.of("small", KEY))
    facts = orjson.loads(paths.run.read_bytes())["agent"]
    assert (facts["name"], facts["factory"], facts["type"]) == ("mine", f"{module}:Searcher", "python")
    assert len(facts["source_sha256"]) == 12 and "model" not in facts
    sessions = [json.loads(line) for line in paths.sessions.read_text().splitlines()]
    reported = [one["conversation_result"]["metadata"]["agent_reported"] for one in sessions]
    assert all(each["prompt_tokens"] >= 3 for each in reported)
    assert "student" not in sessions[0]["atlas_metadata"]["token_usage"]
    verified = run("lineage", "small", KEY, "--verify")
    assert verified.exit_code == 0, verified.output


PROGRAM = """
import json, os, sys, urllib.request

token = os.environ["MCP_TOKEN"]
with open("tokens.txt", "a") as tokens:
    print(token, file=tokens)
for line in sys.stdin:
    turn = json.loads(line)
    print("my token is", token)
    asked = {"name": "client_search", "arguments": {"name": token}}
    request = urllib.request.Request(
        os.environ["MCP_URL"],
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}).encode(),
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        },
    )
    found = json.load(urllib.request.urlopen(request))["result"]
    print(json.dumps({"reply": f"{token} found {len(found['content'])}."}))
"""


def test_a_baseline_of_a_program_has_its_calls_and_no_token(run: Run, project: Project) -> None:
    (project.root / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py"]
    config = own(project, "", {"type": "mcp", "command": command, "factory": None})
    made = run("baseline", "--dataset", "small", "--run", KEY, "--config", str(config))
    assert made.exit_code == 0, made.output
    paths = BaselinePaths.of(project, BaselineKey.of("small", KEY))
    facts = orjson.loads(paths.run.read_bytes())["agent"]
    assert (facts["type"], facts["command"]) == ("mcp", shlex.join(command))
    (first, *_) = [
        json.loads(line)["conversation_result"] for line in paths.sessions.read_text().splitlines()
    ]
    assert first["metadata"]["agent_output"].startswith("my token is [token]")
    assert first["per_turn_results"][0]["arguments"] == {"name": "[token]"}
    assert first["per_turn_results"][0]["agent_response_text"] == "[token] found 1."
    listed = project.root / "tokens.txt"
    tokens = listed.read_bytes().split()
    files = [path for path in project.root.rglob("*") if path.is_file() and path != listed]
    assert tokens and len(files) > 10
    assert [path for path in files if any(token in path.read_bytes() for token in tokens)] == []


def test_trying_a_program_says_how_it_does_what_it_missed(run: Run, project: Project) -> None:
    (project.root / "program.py").write_text('import sys\nfor _ in sys.stdin: print(\'{"reply": ""}\')')
    tried = run("agents", "try", sys.executable, "program.py", "--dataset", "small")
    assert tried.exit_code == 0, tried.output
    for said in ("they are on the MCP server at MCP_URL", 'a line {"reply": …}', '"usage"'):
        assert said in tried.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mode", "coach"], "An agent of type python cannot be in mode coach"),
        (["--engine", "sdk"], "An agent of type python cannot be in engine: sdk"),
        (["--student", "openai/gpt-4.1"], "llm has an effect only with type: crm_harness"),
    ],
)
def test_what_an_own_agent_cannot_do_is_refused(
    run: Run, project: Project, module: str, options: list[str], said: str
) -> None:
    config = own(project, f"{module}:Searcher")
    made = run("baseline", "--dataset", "small", "--config", str(config), *options)
    assert made.exit_code == 2 and said in made.output, made.output


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"factory": None}, "factory is missing: write module:factory"),
        ({"type": "crm_harness", "factory": None}, "llm is missing: name the student's model"),
        ({"type": "crm_harness"}, "factory has an effect only with type: python"),
        ({"type": "mcp"}, "command is missing: write the program and its arguments as a list"),
        ({"type": "http", "url": "http://127.0.0.1:9/"}, "llm has an effect only with type: crm_harness"),
    ],
)
def test_a_configuration_of_half_an_agent_is_refused(
    run: Run, project: Project, module: str, changes: dict[str, object], said: str
) -> None:
    config = own(project, f"{module}:Searcher", changes)
    if "factory" not in changes:
        config.write_text(
            config.read_text().replace("agent:\n", "agent:\n  llm: {provider: openai, model: m}\n")
        )
    made = run("baseline", "--dataset", "small", "--config", str(config))
    assert made.exit_code == 2 and said in made.output, made.output
