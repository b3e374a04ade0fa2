"""Opens the session runner of a run of language models: whose agents it takes, and who drives the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from crm_assets.atlas.loop import AtlasLoop
from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.run_playbook import open_telemetry
from crm_assets.atlas.sdk import SdkRunner
from crm_assets.atlas.session_runners import AtlasRunner, EnteringRunner, ReplayRunner, StudentRunner
from crm_assets.atlas.store import (
    LiveStore,
    RecordedStore,
    SessionStore,
    recorded_start,
    session_start_time,
)
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.atlas.working_agents import Agents, Students, own_agents
from crm_assets.crm import TOOLS, SandboxPool
from crm_assets.database import Databases, read_environment
from crm_assets.engine import SessionRunner
from crm_assets.harness import ConversationRunner
from crm_assets.llm import RecordingModels, Spending, make_redactor
from crm_assets.records import ReplayedRun
from crm_assets.workspace.project import Project

__all__ = ["ModelRunners"]


@dataclass(frozen=True)
class ModelRunners:
    """Opens the session runner of a run of language models (an engine's `RunnerFactory`)."""

    run: ModelRun
    models: RecordingModels
    project: Project
    databases: Databases
    dataset: str
    replay_of: ReplayedRun | None = None

    asks_models = True

    def spent(self) -> Spending | None:
        """Return what the run has cost so far; None for a replay, whose ledger has another run's costs."""
        return self.models.ledger.total() if self.replay_of is None else None

    def stop(self) -> None:
        """Prepare for the end of all sessions: answers under way are waited for."""
        self.models.stop()

    def activity(self) -> str | None:
        """Return what is under way with the models; None for a replay."""
        return self.models.progress

    @asynccontextmanager
    async def open(self, pool: SandboxPool) -> AsyncIterator[SessionRunner[AtlasTask]]:
        """Open a runner; what it opens is closed afterwards."""
        runner = ConversationRunner(pool, database_is_local=self.databases.sandbox_is_local)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.models.aclose)
            opened = EnteringRunner(self._runner(runner, self._agents(stack), stack), self.models)
            yield opened if self.replay_of is None else ReplayRunner(opened, self.replay_of.name)

    @property
    def _address(self) -> str:
        return self.databases.telemetry_for(self.run.config.config.storage.database_url)

    def _agents(self, stack: AsyncExitStack) -> Agents:
        config = self.run.config.config
        if config.agent.type == "crm_harness":
            return Students(self.models, config)
        agents, host = own_agents(config.agent, self.project.root, read_environment(self.project))
        stack.push_async_callback(host.aclose)
        return agents

    def _runner(
        self, runner: ConversationRunner, agents: Agents, stack: AsyncExitStack
    ) -> SessionRunner[AtlasTask]:
        if self.run.plan.agent == "student":
            return self._student(runner, agents)
        return self._sdk(runner, stack) if self.run.by_sdk else self._atlas(runner, agents, stack)

    def _student(self, runner: ConversationRunner, agents: Agents) -> StudentRunner:
        start = session_start_time if self.run.replay is None else recorded_start
        started = partial(start, self.models)
        return StudentRunner(self.run.config, self.models, agents, runner, started=started)

    def _sdk(self, runner: ConversationRunner, stack: AsyncExitStack) -> SdkRunner:
        return SdkRunner(
            self.run.config,
            self.models,
            runner,
            self._telemetry(stack),
            stack,
            address=self._address,
            dataset=self.dataset,
            redact=make_redactor(read_environment(self.project)),
        )

    def _atlas(self, runner: ConversationRunner, agents: Agents, stack: AsyncExitStack) -> AtlasRunner:
        loop = AtlasLoop(
            self.run.config.config,
            self.run.config.learning_mode,
            self.models,
            agents,
            runner,
            handles={tool.name: tool.description for tool in TOOLS.values()},
        )
        return AtlasRunner(self.run.config, self.models, loop, self._store(stack), dataset=self.dataset)

    def _store(self, stack: AsyncExitStack) -> SessionStore:
        if self.run.replay is not None:
            return RecordedStore(self.models)
        config = self.run.config.config
        history = max(config.learning.history_limit, config.adaptive_teaching.probe.evidence_limit)
        window = config.runtime_safety.drift.window
        return LiveStore(
            self._telemetry(stack),
            self.models,
            history=history,
            window=window,
            outage_seconds=self.databases.outage_seconds,
        )

    def _telemetry(self, stack: AsyncExitStack) -> TelemetryStore:
        telemetry = stack.enter_context(open_telemetry(self.run, self._address))
        telemetry.close_orphans()
        return telemetry
