"""The work of a run: its items, the file they are read from, and what takes an item to its record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from crm_assets.conversations import Conversation, JsonObject
from crm_assets.crm import SandboxPool
from crm_assets.engine.identity import FIRST_EPOCH, learning_key, session_key
from crm_assets.harness.ground_truth import GroundTruth
from crm_assets.llm import Spending
from crm_assets.records.results import ConversationResult

__all__ = ["Finished", "RunnerFactory", "SessionRunner", "Source", "Task", "TaskT", "Work", "WorkItem"]


class WorkItem(NamedTuple):
    """One session to run."""

    task_id: str
    """The task's, or the conversation's where a dataset is run without tasks."""
    learning_key: str
    turns: int
    """Of its conversation."""
    line: int
    """Number of its line in the source, from 1."""
    offset: int
    """Bytes before that line."""
    epoch: int = FIRST_EPOCH

    @classmethod
    def skim(cls, task_id: str, conversation: JsonObject, *, line: int, offset: int) -> WorkItem:
        """Make an item from a conversation's JSON without validating it, which takes many times as long.

        Raises:
            LookupError, TypeError: it is not a conversation.
        """
        fields = _DEFAULTS | conversation
        key = learning_key(fields["workflow_category"], fields["complexity_level"])
        return cls(task_id, key, len(fields["turns"]), line, offset)

    @property
    def key(self) -> str:
        """Return the session's key in the run."""
        return session_key(self.task_id, self.epoch)


_DEFAULTS = {
    name: Conversation.model_fields[name].default for name in ("workflow_category", "complexity_level")
}


class Task(Protocol):
    """Content of a source for one item."""

    @property
    def conversation(self) -> Conversation:
        """The items to run."""


TaskT = TypeVar("TaskT", bound=Task)
_TaskT_contra = TypeVar("_TaskT_contra", bound=Task, contravariant=True)
_TaskT_co = TypeVar("_TaskT_co", bound=Task, covariant=True)


class Source(Protocol[_TaskT_co]):
    """The file that items are read from. Can be pickled."""

    @property
    def path(self) -> Path:
        """A JSON Lines file."""

    def parse(self, item: WorkItem, line: bytes) -> _TaskT_co:
        """Return the task on an item's line.

        Raises:
            InputError: the file has changed meanwhile.
        """


@dataclass(frozen=True)
class Finished:
    """A session that is over."""

    status: str
    """The status of its result."""
    success: bool | None
    record: object
    """Its line, as `files.json_line` takes it."""


class SessionRunner(Protocol[_TaskT_contra]):
    """Takes one session after the other to its record."""

    async def run(self, item: WorkItem, task: _TaskT_contra, truth: GroundTruth | Exception) -> Finished:
        """Run a session to its end.

        Raises:
            BudgetExhausted: the run's budget is spent.
            InfrastructureError: what all sessions stand on failed for good.
        """

    def record(self, item: WorkItem, task: _TaskT_contra, result: ConversationResult) -> Finished:
        """Make the record of a session that is `result` alone."""


class RunnerFactory(Protocol[_TaskT_contra]):
    """Opens session runners, one a process. Can be pickled if there are several processes."""

    @property
    def asks_models(self) -> bool:
        """Tell whether sessions mostly wait for language models."""

    def open(self, pool: SandboxPool) -> AbstractAsyncContextManager[SessionRunner[_TaskT_contra]]:
        """Open a runner that leases its sandboxes from `pool`."""

    def stop(self) -> None:
        """Prepare for the end of all sessions: who has asked a model still waits for its answer."""

    def spent(self) -> Spending | None:
        """Return what the run has cost so far; None where no model is asked."""

    def activity(self) -> str | None:
        """Return in words what is under way with the models; None where no model is asked."""


@dataclass(frozen=True)
class Work(Generic[TaskT]):
    """The sessions of a run, and how they go."""

    items: Sequence[WorkItem]
    """In the order in which their records are to stand."""
    source: Source[TaskT]
    runners: RunnerFactory[TaskT]
    in_order: bool = False
    """Sessions of one learning key wait for each other."""
    longest_first: bool = False
    """Among sessions of an epoch that do not wait for each other."""


def repeat(items: Iterable[WorkItem], epochs: int) -> list[WorkItem]:
    """Return `items` once for each epoch, epoch by epoch."""
    first = list(items)
    return [item._replace(epoch=epoch) for epoch in range(FIRST_EPOCH, epochs + 1) for item in first]
