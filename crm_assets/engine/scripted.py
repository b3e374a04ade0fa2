"""Session runners of scripted agents: no model is asked, and a session is one run of the harness."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic

from crm_assets.crm import SandboxPool
from crm_assets.engine.work import Finished, TaskT, WorkItem
from crm_assets.harness import Agent, AgentSpec, ConversationRunner, GroundTruth, make_agent
from crm_assets.records.results import ConversationResult

__all__ = ["ScriptedRunners"]


@dataclass(frozen=True)
class ScriptedRunners(Generic[TaskT]):
    """Opens session runners of a scripted agent (a `RunnerFactory`)."""

    agent: AgentSpec
    record: Callable[[TaskT, ConversationResult], object]
    """Makes a session's record of its task and result. Can be pickled."""
    database_is_local: bool

    asks_models = False

    @asynccontextmanager
    async def open(self, pool: SandboxPool) -> AsyncIterator[_ScriptedRunner[TaskT]]:
        """Open a runner with an agent of its own."""
        runner = ConversationRunner(pool, database_is_local=self.database_is_local)
        yield _ScriptedRunner(runner, make_agent(self.agent), self.record)

    def stop(self) -> None:
        """Do nothing: no model is asked."""

    def activity(self) -> None:
        """Return None: no model is asked."""

    def spent(self) -> None:
        """Return None: no model is asked."""


@dataclass(frozen=True)
class _ScriptedRunner(Generic[TaskT]):
    runner: ConversationRunner
    agent: Agent
    make_record: Callable[[TaskT, ConversationResult], object]

    async def run(self, item: WorkItem, task: TaskT, truth: GroundTruth | Exception) -> Finished:
        """Run a session to its end."""
        result = await self.runner.run(task.conversation, truth, agent=self.agent)
        return self.record(item, task, result)

    def record(self, item: WorkItem, task: TaskT, result: ConversationResult) -> Finished:
        """Make a session's record."""
        return Finished(result.status, result.overall_success, self.make_record(task, result))
