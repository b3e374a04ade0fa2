"""Session runners of language models: the whole Atlas loop, or the student alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.loop import AtlasLoop, SessionRun
from crm_assets.atlas.records import (
    harness_record,
    loop_record,
    repeated,
    session_end,
    session_record,
    session_start,
)
from crm_assets.atlas.store import OpenSession, SessionStore
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.atlas.working_agents import Agents
from crm_assets.engine import Finished, SessionRunner, WorkItem, ledger_key
from crm_assets.errors import CrmAssetsError
from crm_assets.harness import ConversationRunner, GroundTruth, Judge, without_verdict
from crm_assets.harness.judge import TurnJudge
from crm_assets.llm import BudgetExhausted, ModelError, Models, RecordingModels, Role, Spending
from crm_assets.records import ConversationResult, LoopFacts, SessionRecord

__all__ = ["AtlasRunner", "EnteringRunner", "LoopRunner", "ReplayRunner", "StudentRunner"]


class _ModelRunner:
    def __init__(self, config: LoadedConfig, models: Models) -> None:
        self._config = config.config
        self._models = models

    def record(self, item: WorkItem, task: AtlasTask, result: ConversationResult) -> Finished:
        """Make the record of a session of which Atlas has nothing to tell; its cost so far counts."""
        return Finished(result.status, result.overall_success, self._line(item, task, result))

    def _line(self, item: WorkItem, task: AtlasTask, result: ConversationResult) -> SessionRecord:
        return harness_record(task, result, epoch=item.epoch, spent=self._spent(task, item))

    def _judge(self, task: AtlasTask, item: WorkItem) -> Judge | None:
        """Return the judge of turns that comparison cannot decide; None if none is wanted."""
        if not (self._config.agent.use_llm_judge or task.use_llm_judge):
            return None
        return TurnJudge(self._models, self._config.rim.small_model, _ledger_key(task, item))

    def _spent(self, task: AtlasTask, item: WorkItem) -> Mapping[Role, Spending]:
        return self._models.spent(_ledger_key(task, item))


def _ledger_key(task: AtlasTask, item: WorkItem) -> str:
    return ledger_key(task.conversation.conversation_id, item.epoch)


class StudentRunner(_ModelRunner):
    """Runs the student alone, which Atlas is compared with: no teacher, judge, learner or telemetry."""

    def __init__(
        self,
        config: LoadedConfig,
        models: Models,
        agents: Agents,
        runner: ConversationRunner,
        *,
        started: Callable[[str], datetime],
    ) -> None:
        """Prepare for sessions.

        Args:
            config: whose agent section counts.
            models: whom a judge asks.
            agents: makes the agent of each session.
            runner: what takes it through a conversation.
            started: when a session (by its key in the ledger) began.
        """
        super().__init__(config, models)
        self._agents = agents
        self._runner = runner
        self._started = started

    async def run(self, item: WorkItem, task: AtlasTask, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end."""
        session = _ledger_key(task, item)
        result = await self._runner.run(
            task.conversation,
            truth,
            agent=self._agents.of(session),
            judge=self._judge(task, item),
            now=self._started(session),
        )
        if result.status == "not_run":
            raise BudgetExhausted(result.error_message or "The run's budget is spent.")
        return self.record(item, task, result)


class LoopRunner(_ModelRunner):
    """Shares what sessions of the whole loop have in common, whether we or the SDK drive it."""

    def _line(self, item: WorkItem, task: AtlasTask, result: ConversationResult) -> SessionRecord:
        facts = LoopFacts(learning_key=item.learning_key)
        return loop_record(task, result, facts, epoch=item.epoch, spent=self._spent(task, item))


class AtlasRunner(LoopRunner):
    """Runs sessions of the whole loop: student, teacher, judges, learner, telemetry."""

    def __init__(
        self,
        config: LoadedConfig,
        models: Models,
        loop: AtlasLoop,
        store: SessionStore,
        *,
        dataset: str,
    ) -> None:
        """Prepare for sessions.

        Args:
            config: the run's.
            models: whom all roles ask.
            loop: takes a session through it.
            store: where sessions begin and end.
            dataset: its name.
        """
        super().__init__(config, models)
        self._loop = loop
        self._store = store
        self._dataset = dataset

    async def run(self, item: WorkItem, task: AtlasTask, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end, and store it."""
        opened = await self._store.begin(
            session_start(
                task,
                item.epoch,
                learning_key=item.learning_key,
                dataset=self._dataset,
                tags=self._config.adaptive_teaching.default_tags,
            ),
            _ledger_key(task, item),
        )
        try:
            run = await self._loop.run(opened, task.conversation, truth, self._judge(task, item))
        except ModelError as error:
            await self._store.fail(opened, str(error))
            result = without_verdict(task.conversation, "infrastructure_error", str(error), {})
            return self.record(item, task, result)
        except CrmAssetsError as error:
            await self._store.fail(opened, str(error))
            raise
        return await self._finish(task, item, opened, run)

    async def _finish(
        self, task: AtlasTask, item: WorkItem, opened: OpenSession, run: SessionRun
    ) -> Finished:
        spent = self._spent(task, item)
        end = session_end(run, self._config, spent)
        await self._store.finish(opened, end, self._loop.lesson_of(run))
        record = session_record(task, item.epoch, run, end, spent=spent)
        return Finished(run.result.status, run.result.overall_success, record)


class ReplayRunner:
    """Marks the sessions of a replay: what they used and cost is the recorded run's."""

    def __init__(self, runner: SessionRunner[AtlasTask], replayed: str) -> None:
        """Prepare for sessions.

        Args:
            runner: what runs them.
            replayed: name of the recorded run.
        """
        self._runner = runner
        self._replayed = replayed

    async def run(self, item: WorkItem, task: AtlasTask, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end."""
        return self._marked(await self._runner.run(item, task, truth))

    def record(self, item: WorkItem, task: AtlasTask, result: ConversationResult) -> Finished:
        """Make the record of a session that is `result` alone."""
        return self._marked(self._runner.record(item, task, result))

    def _marked(self, finished: Finished) -> Finished:
        record = finished.record
        assert isinstance(record, SessionRecord)  # as all runners of this package make them
        return replace(finished, record=repeated(record, self._replayed))


class EnteringRunner:
    """Enters sessions of another runner with the models, when the run's budget suffices for them."""

    def __init__(self, runner: SessionRunner[AtlasTask], models: RecordingModels) -> None:
        self._runner = runner
        self._models = models

    async def run(self, item: WorkItem, task: AtlasTask, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end.

        Raises:
            BudgetExhausted: the budget does not suffice for it.
        """
        async with self._models.session(_ledger_key(task, item)):
            return await self._runner.run(item, task, truth)

    def record(self, item: WorkItem, task: AtlasTask, result: ConversationResult) -> Finished:
        """Make the record of a session that is `result` alone."""
        return self._runner.record(item, task, result)
