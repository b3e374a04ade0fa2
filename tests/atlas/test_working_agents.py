"""Agents of the user's own, as a configuration says."""

from __future__ import annotations

import hashlib
from pathlib import Path

from crm_assets.agents.command import CommandHost
from crm_assets.agents.external import ExternalAgent, TurnLimits
from crm_assets.agents.python import PythonHost
from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.working_agents import Told, own_agent_facts, own_agents


def own(**changes: object) -> AgentConfig:
    return AgentConfig.model_validate(
        {"type": "python", "factory": "my_agent:make", "name": "mine", **changes}
    )


def test_an_own_agent_has_the_configured_limits_and_is_told_what_a_student_is(tmp_path: Path):
    config = own(
        turn_timeout_seconds=7, calls_per_turn="many", max_calls_per_turn=3, system_prompt="Be brief."
    )
    agents, _ = own_agents(config, tmp_path, {})
    agent = agents.of("s", Told(pamphlet="LEARNED", guidance="GUIDED"))
    assert isinstance(agent, ExternalAgent)
    assert agent.limits == TurnLimits(3, 7.0)
    assert [word in agent.instructions for word in ("Be brief.", "LEARNED", "GUIDED")] == [True] * 3
    assert len(agent.tools) == 28


def test_an_own_agents_process_has_no_way_to_the_databases(tmp_path: Path):
    environment = {
        "PATH": "/bin",
        "OPENAI_API_KEY": "sk",
        "DB_HOST": "h",
        "DB_PASSWORD": "p",
        "STORAGE__DATABASE_URL": "u",
        "DAGSTER_DATABASE_URL": "u",
        "CRM_ASSETS_HOME": "f",
    }
    _, python = own_agents(own(), tmp_path, environment)
    _, program = own_agents(own(type="mcp", factory=None, command=["a"]), tmp_path, environment)
    assert isinstance(python, PythonHost) and isinstance(program, CommandHost)
    for host in (python, program):
        assert host.processes.environment.keys() & environment.keys() == {"PATH", "OPENAI_API_KEY"}


def test_an_own_agent_is_known_by_its_modules_contents(tmp_path: Path):
    assert own_agent_facts(own(), tmp_path) == {"name": "mine", "factory": "my_agent:make"}
    (tmp_path / "my_agent.py").write_text("make = object")
    digest = hashlib.sha256(b"make = object").hexdigest()[:12]
    assert own_agent_facts(own(), tmp_path)["source_sha256"] == digest
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    (tmp_path / "agents" / "one.py").write_text("make = object")
    assert own_agent_facts(own(factory="agents.one:make"), tmp_path)["source_sha256"] == digest


def test_an_own_agent_that_is_installed_has_its_distributions_version(tmp_path: Path):
    facts = own_agent_facts(own(factory="pytest:main"), None)
    assert str(facts["distribution"]).startswith("pytest ")


def test_a_program_is_known_by_its_files_and_a_service_by_its_address(tmp_path: Path):
    (tmp_path / "agent.py").write_text("pass")
    program = own(type="mcp", factory=None, command=["python", "agent.py", "--fast"])
    digest = hashlib.sha256(b"pass").hexdigest()[:12]
    known = {"name": "mine", "command": "python agent.py --fast", "source_sha256": digest}
    assert own_agent_facts(program, tmp_path) == known
    service = own(type="http", factory=None, url="http://127.0.0.1:9/turn")
    assert own_agent_facts(service, tmp_path) == {"name": "mine", "url": "http://127.0.0.1:9/turn"}
