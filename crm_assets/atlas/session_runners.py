"""How a session goes: the whole Atlas loop, or the student alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.identity import learning_key, ledger_account
from crm_assets.atlas.lanes import Slot
from crm_assets.atlas.records import (
    TRACE_KEYS,
    harness_record,
    session_end,
    session_record,
    session_start,
)
from crm_assets.atlas.run import Finished
from crm_assets.atlas.session import SessionRun, SessionWorker
from crm_assets.atlas.store import OpenSession, SessionStore
from crm_assets.atlas.student import Student
from crm_assets.atlas.tasks import AtlasTask
from crm_assets.errors import CrmAssetsError
from crm_assets.harness import ConversationRunner, GroundTruth, Judge, without_verdict
from crm_assets.harness.judge import TurnJudge
from crm_assets.llm import BudgetExhausted, ModelError, Models, Role, Spending
from crm_assets.records import ConversationResult

__all__ = ["AtlasFlow", "LoopFlow", "StudentFlow"]


class _Flow:
    def __init__(
        self,
        config: LoadedConfig,
        models: Models,
        total: Callable[[], Spending],
        facts: Mapping[str, Any],
    ) -> None:
        self._config = config.config
        self._models = models
        self._total = total
        self._facts = facts

    def spent(self) -> Spending:
        """What the run has cost so far."""
        return self._total()

    def not_run(self, task: AtlasTask, slot: Slot, reason: str) -> Finished:
        """A session that the budget did not suffice for; what it had cost by then is told."""
        result = without_verdict(task.conversation, "not_run", reason, {})
        return self._without_atlas(task, slot, result)

    def _without_atlas(self, task: AtlasTask, slot: Slot, result: ConversationResult) -> Finished:
        record = harness_record(
            task,
            result,
            self._facts,
            epoch=slot.epoch,
            spent=self._spent(task, slot),
            metadata=self._extra(task),
        )
        return Finished(result.status, result.overall_success, vars(record))

    def _judge(self, task: AtlasTask, slot: Slot) -> Judge | None:
        """Who judges the turns that comparison cannot decide; None for nobody."""
        if not self._judges(task):
            return None
        return TurnJudge(self._models, self._config.rim.small_model, _account(task, slot))

    def _spent(self, task: AtlasTask, slot: Slot) -> Mapping[Role, Spending]:
        return self._models.spent(_account(task, slot))

    def _judges(self, task: AtlasTask) -> bool:
        return self._config.agent.use_llm_judge or task.use_llm_judge

    def _extra(self, task: AtlasTask) -> Mapping[str, Any]:
        return {"use_llm_judge": self._judges(task)}


def _account(task: AtlasTask, slot: Slot) -> str:
    return ledger_account(task.conversation.conversation_id, slot.epoch)


class StudentFlow(_Flow):
    """The student alone: no teacher, no judge, no learner, no telemetry. What Atlas is compared with."""

    def __init__(
        self,
        config: LoadedConfig,
        models: Models,
        runner: ConversationRunner,
        *,
        started: Callable[[str], datetime],
        total: Callable[[], Spending],
        facts: Mapping[str, Any],
    ) -> None:
        """Prepare for sessions.

        Args:
            config: whose agent section counts.
            models: whom the student asks.
            runner: what takes it through a conversation.
            started: when a session (by its account in the ledger) began.
            total: what the run has cost so far.
            facts: what all sessions of the run have in common.
        """
        super().__init__(config, models, total, facts)
        self._runner = runner
        self._started = started

    async def run(self, task: AtlasTask, slot: Slot, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end."""
        account = _account(task, slot)
        student = Student(self._models, account, self._config)
        result = await self._runner.run(
            task.conversation,
            truth,
            agent=student,
            judge=self._judge(task, slot),
            now=self._started(account),
        )
        if result.status == "not_run":
            raise BudgetExhausted(result.error_message or "The run's budget is spent.")
        return self._without_atlas(task, slot, result)


class LoopFlow(_Flow):
    """What sessions of the whole loop have in common, whoever drives it."""

    def _without_atlas(self, task: AtlasTask, slot: Slot, result: ConversationResult) -> Finished:
        finished = super()._without_atlas(task, slot, result)
        return replace(finished, record={**finished.record, **dict.fromkeys(TRACE_KEYS)})

    def _learning_key(self, task: AtlasTask) -> str:
        override = self._config.adaptive_teaching.learning_key_override
        return learning_key(task.conversation, override)

    def _extra(self, task: AtlasTask) -> Mapping[str, Any]:
        return {
            **super()._extra(task),
            "learning_key": self._learning_key(task),
            "execution_mode": None,
        }


class AtlasFlow(LoopFlow):
    """Student, teacher, judges, learner, telemetry."""

    def __init__(
        self,
        config: LoadedConfig,
        models: Models,
        worker: SessionWorker,
        store: SessionStore,
        *,
        dataset: str,
        total: Callable[[], Spending],
        facts: Mapping[str, Any],
    ) -> None:
        """Prepare for sessions.

        Args:
            config: the run's.
            models: whom all roles ask.
            worker: takes a session through the loop.
            store: where sessions begin and end.
            dataset: its name.
            total: what the run has cost so far.
            facts: what all sessions of the run have in common.
        """
        super().__init__(config, models, total, facts)
        self._worker = worker
        self._store = store
        self._dataset = dataset

    async def run(self, task: AtlasTask, slot: Slot, truth: GroundTruth | Exception) -> Finished:
        """Take a session to its end, and store it."""
        teaching = self._config.adaptive_teaching
        opened = await self._store.begin(
            session_start(
                task,
                slot.epoch,
                learning_key=self._learning_key(task),
                dataset=self._dataset,
                tags=teaching.default_tags,
            ),
            _account(task, slot),
        )
        try:
            run = await self._worker.run(opened, task.conversation, truth, self._judge(task, slot))
        except ModelError as error:
            await self._store.fail(opened, str(error))
            result = without_verdict(task.conversation, "infrastructure_error", str(error), {})
            return self._without_atlas(task, slot, result)
        except CrmAssetsError as error:
            await self._store.fail(opened, str(error))
            raise
        return await self._finish(task, slot, opened, run)

    async def _finish(self, task: AtlasTask, slot: Slot, opened: OpenSession, run: SessionRun) -> Finished:
        spent = self._spent(task, slot)
        end = session_end(run, self._config, spent)
        await self._store.finish(opened, end, self._worker.merge_of(run))
        record = session_record(task, slot.epoch, run, end, facts=self._facts, spent=spent)
        return Finished(run.result.status, run.result.overall_success, record)
