"""The agent of each session: the student, or an agent of the user's own."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from crm_assets.agents.command import CommandHost
from crm_assets.agents.external import ExternalAgent, TurnLimits
from crm_assets.agents.links import AgentHost
from crm_assets.agents.python import PythonHost
from crm_assets.agents.service import ServiceHost
from crm_assets.atlas.config import AgentConfig, AtlasConfig
from crm_assets.atlas.student import Student
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.harness import Agent
from crm_assets.llm import Models

__all__ = ["Agents", "OwnAgents", "Students", "Told", "own_agent_facts", "own_agents"]

_OURS = ("DB_", "STORAGE__", "DAGSTER_", "CRM_ASSETS_")
"""Names of variables that agents are not given: with the databases they would have the ground truths."""


class Told(NamedTuple):
    """Texts for the agent of a session, beside the configured prompt."""

    pamphlet: str | None = None
    """The playbook: what was learned from earlier sessions."""
    plan: str | None = None
    """Its plan, reviewed by the teacher."""
    guidance: str | None = None
    """The teacher's guidance on the attempt before."""


NOTHING_TOLD = Told()


class Agents(Protocol):
    """Makes the agents of a run's sessions."""

    def of(self, session: str, told: Told = NOTHING_TOLD) -> Agent:
        """Return the agent of a session.

        Args:
            session: its key in the ledger.
            told: what it is told beside the configured prompt.
        """


class Students:
    """Makes students."""

    def __init__(self, models: Models, config: AtlasConfig) -> None:
        self._models = models
        self._config = config

    def of(self, session: str, told: Told = NOTHING_TOLD) -> Agent:
        """Return the student of a session (see `Agents.of`)."""
        return Student(self._models, session, self._config, **told._asdict())


class OwnAgents:
    """Makes agents of the user's own."""

    def __init__(self, host: AgentHost, agent: AgentConfig, facts: Mapping[str, object]) -> None:
        self._host = host
        self._config = agent
        self._facts = facts

    def of(self, session: str, told: Told = NOTHING_TOLD) -> Agent:
        """Return the agent of a session (see `Agents.of`)."""
        return ExternalAgent(
            self._host,
            self._facts,
            [tool.document for tool in function_tools()],
            system_prompt(self._config, **told._asdict()),
            TurnLimits(self._config.most_calls, self._config.turn_timeout_seconds),
        )


def own_agents(
    agent: AgentConfig, folder: Path, environment: Mapping[str, str]
) -> tuple[OwnAgents, AgentHost]:
    """Return what makes agents of the user's own, and their host, which is to be closed.

    Args:
        agent: the configuration.
        folder: the project's.
        environment: the process's, with `.env`; what leads to the databases is left out.
    """
    visible = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    host: AgentHost
    if agent.factory is not None:
        host = PythonHost(agent.factory, search=[folder], environment=visible)
    elif agent.command is not None:
        host = CommandHost(agent.command, folder=folder, environment=visible)
    else:
        assert agent.url is not None  # as the configuration sees to
        host = ServiceHost(agent.url)
    return OwnAgents(host, agent, own_agent_facts(agent, folder)), host


def own_agent_facts(agent: AgentConfig, folder: Path | None) -> dict[str, object]:
    """Return what identifies an agent of the user's own in results.

    The hash of a module or of a program's files says if they themselves changed. What a module imports is
    known by the version of the distribution it is installed from, if it is.

    Args:
        agent: the configuration.
        folder: the project's, where its files are; None if there is none.
    """
    facts: dict[str, object] = {"name": agent.name}
    if agent.factory is not None:
        facts["factory"] = agent.factory
        return facts | _module_facts(agent.factory, [folder] if folder else [])
    if agent.url is not None:
        return facts | {"url": agent.url}
    assert agent.command is not None
    facts["command"] = agent.own
    files = [(folder or Path()) / part for part in agent.command[1:]]
    if contents := [file.read_bytes() for file in files if file.is_file()]:
        facts["source_sha256"] = hashlib.sha256(b"".join(contents)).hexdigest()[:12]
    return facts


def _module_facts(factory: str, search: Sequence[Path]) -> dict[str, object]:
    facts: dict[str, object] = {}
    module = factory.partition(":")[0]
    top, *rest = module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top, [*map(str, search)])
    found = Path(spec.origin) if spec is not None and spec.origin else None
    if found is not None and rest:
        found = found.parent.joinpath(*rest).with_suffix(".py")
    if found is not None and found.is_file():
        facts["source_sha256"] = hashlib.sha256(found.read_bytes()).hexdigest()[:12]
    for name in importlib.metadata.packages_distributions().get(top, []):
        facts["distribution"] = f"{name} {importlib.metadata.version(name)}"
    return facts
