"""The examples of agents in the frameworks that they are written for, each in an environment of its own."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from crm_assets.offline_models import OfflineServer
from crm_assets.workspace.project import Project
from tests.cli.conftest import Run, run
from tests.projects import REPOSITORY

__all__ = ["run"]

pytestmark = pytest.mark.whole

EXAMPLES = REPOSITORY / "examples" / "agents"
FRAMEWORKS = ("langgraph", "openai-agents", "pydantic-ai")


@pytest.fixture(scope="module")
def environments() -> Path:
    """The folder of the environments; skips where they are not there, which in CI they must be."""
    made = REPOSITORY / ".crm_assets" / "agent-frameworks"
    ready = all((made / framework / "ready").is_file() for framework in FRAMEWORKS)
    if not ready and os.environ.get("CI") != "true":
        pytest.skip(
            "the agents' frameworks are not there: run scripts/agent-frameworks, with a package index"
        )
    made.parent.mkdir(exist_ok=True)
    with (made.parent / "agent-frameworks.lock").open("w") as lock:  # test processes may come here together
        fcntl.flock(lock, fcntl.LOCK_EX)
        script = REPOSITORY / "scripts" / "agent-frameworks"
        done = subprocess.run([script], check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_each_example_has_its_versions() -> None:
    versions = {path.stem.removeprefix("requirements-") for path in EXAMPLES.glob("requirements-*.txt")}
    programs = {path.stem.removesuffix("_agent").replace("_", "-") for path in EXAMPLES.glob("*.py")}
    assert versions == programs == set(FRAMEWORKS)


def test_the_documentation_shows_the_example_that_is_tested() -> None:
    example = (EXAMPLES / "langgraph_agent.py").read_text()
    assert textwrap.indent(example, "    ") in (REPOSITORY / "docs" / "agents.md").read_text()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_example_takes_conversations(
    run: Run, project: Project, environments: Path, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    small = project.dataset_file("small").read_text().splitlines()
    longer = next(line for line in small if len(json.loads(line)["turns"]) > 1)
    project.dataset_file("longer").write_text(longer)
    program = EXAMPLES / f"{framework.replace('-', '_')}_agent.py"
    python = environments / framework / "bin" / "python"
    with OfflineServer() as server:
        for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
            monkeypatch.setenv(name, server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        monkeypatch.setenv("AGENT_MODEL", "offline/student")
        command = ("--calls", "many", "--json", python, program)
        tried = run("agents", "try", "--dataset", "longer", *command)
    assert tried.exit_code == 0, tried.output
    (result,) = json.loads(tried.stdout)
    assert "agent_output" not in result["metadata"]
    assert result["metadata"]["agent_reported"]["prompt_tokens"] > 0
    turns = result["per_turn_results"]
    assert any(turn["success"] for turn in turns)
    assert all(turn["agent_response_text"] for turn in turns)
