"""sessions.jsonl: what came of each task.

For now a session is the harness's run of the conversation by one agent (`execution_mode: harness`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crm_assets.atlas.software import software_versions
from crm_assets.atlas.tasks import AtlasTask, read_task_ids, read_tasks
from crm_assets.database import connect_databases
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.files import sha256_of_file
from crm_assets.harness import (
    AgentSpec,
    BatchSummary,
    ConversationResult,
    Item,
    Limits,
    Progress,
    code_fingerprint,
    make_agent,
    run_batch,
)
from crm_assets.project import Project

__all__ = ["SESSION_SCHEMA_VERSION", "SessionRecord", "run_sessions"]

SESSION_SCHEMA_VERSION = 1

_STATUS = {
    "completed": "succeeded",
    "infrastructure_error": "failed",
    "not_recorded": "not_recorded",
}


@dataclass(frozen=True)
class SessionRecord:
    """One line of sessions.jsonl."""

    schema_version: int
    conversation_id: str
    task_id: str
    status: str
    """`succeeded` (ran to its end), `failed` (something around the agent broke), `not_recorded`."""
    final_payload: Mapping[str, Any]
    """How it ended, in short."""
    conversation_result: ConversationResult
    """The harness's result, turn by turn."""
    atlas_metadata: Mapping[str, Any]
    """Which run, on what, by whom, in which mode, at what cost."""


@dataclass(frozen=True)
class TaskSource:
    """The tasks of a run, to be worked off as a batch."""

    path: Path
    facts: Mapping[str, Any]
    """What every session of the run has in common."""

    def items(self, wanted: Callable[[int], bool]) -> Iterator[Item]:
        """The tasks in order."""
        for task in read_tasks(self.path, wanted=wanted):
            yield Item(task.task_id, task.conversation, task)

    def keys(self) -> Iterator[str]:
        """Their IDs."""
        return read_task_ids(self.path)

    def record(self, item: Item, result: ConversationResult) -> object:
        """A task's line of sessions.jsonl."""
        task: AtlasTask = item.context
        return SessionRecord(
            schema_version=SESSION_SCHEMA_VERSION,
            conversation_id=result.conversation_id,
            task_id=task.task_id,
            status=_STATUS[result.status],
            final_payload=_final_payload(result),
            conversation_result=result,
            atlas_metadata=self._metadata(task, result),
        )

    def _metadata(self, task: AtlasTask, result: ConversationResult) -> dict[str, Any]:
        return {
            **self.facts,
            "run_id": task.run_id,
            "dataset_revision": task.dataset_revision,
            "workflow_category": task.conversation.workflow_category,
            "complexity_level": task.conversation.complexity_level,
            "execution_mode": "harness",
            "session_reward": None,
            "reward_stats": None,
            "token_usage": _tokens_by_role(result),
            "backend": task.backend,
            "use_llm_judge": task.use_llm_judge,
        }


def _final_payload(result: ConversationResult) -> dict[str, Any]:
    turns = result.per_turn_results
    return {
        "final_answer": turns[-1].agent_response_text if turns else None,
        "overall_success": result.overall_success,
        "reward_signal": result.reward_signal,
        "state_match": result.state_match,
    }


def _tokens_by_role(result: ConversationResult) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for turn in result.per_turn_results:
        for role, usage in turn.token_usage.items():
            total = totals.setdefault(role, {})
            for name, count in asdict(usage).items():
                total[name] = total.get(name, 0) + count
    return totals


def run_sessions(
    tasks: Path,
    sessions: Path,
    *,
    project: Project,
    dataset: str,
    agent: AgentSpec,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    config_path: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Work off the tasks of a run; `sessions` appears when all of them are through.

    Until then finished sessions are kept beside it and a second call goes on from there; sessions
    that an infrastructure error ended are run again.

    Raises:
        InputError: the tasks cannot be read, or what is there is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    if not tasks.is_file():
        raise InputError(f"There are no tasks at {tasks}; materialize atlas_tasks first.")
    databases = connect_databases(project)
    description = dict(make_agent(agent).describe())
    facts = {
        "dataset": dataset,
        "agent": description,
        "config_path": config_path,
        "conversations_path": _relative(project.dataset_file(dataset), project),
        "tasks_path": _relative(tasks, project),
        "software": software_versions(databases.sandbox),
    }
    partial = sessions.with_name(f"{sessions.name}.partial")
    identity = {
        "tasks_sha256": sha256_of_file(tasks),
        "agent": description,
        "code": code_fingerprint(),
    }
    summary = run_batch(
        TaskSource(tasks, facts),
        partial,
        databases=databases,
        agent=agent,
        identity=identity,
        limits=limits,
        progress=progress,
    )
    try:
        os.replace(partial, sessions)
        partial.with_name(f"{partial.name}.run.json").unlink(missing_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"Could not put {sessions} in place: {error.strerror or error}; run it again."
        ) from error
    return summary


def _relative(path: Path, project: Project) -> str:
    """`path` as it reads inside the project, so that a baseline can be moved."""
    return (path.relative_to(project.root) if path.is_relative_to(project.root) else path).as_posix()
