"""Sessions of scripted agents: the harness's run of each task (`execution_mode: harness`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crm_assets.atlas.records import harness_record
from crm_assets.atlas.software import software_versions
from crm_assets.atlas.tasks import AtlasTask, read_task_ids, read_tasks
from crm_assets.database import Databases
from crm_assets.engine import BatchSummary, Item, Limits, Progress, run_batch
from crm_assets.errors import InputError
from crm_assets.harness import AgentSpec, code_fingerprint, make_agent
from crm_assets.records import ConversationResult
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.project import Project

__all__ = ["require_tasks", "run_facts", "run_identity", "run_sessions"]


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
        return harness_record(task, result, self.facts)


def run_sessions(
    files: RunFiles,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    agent: AgentSpec,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Work off the tasks of a run; its sessions appear when all of them are through.

    Until then finished sessions are kept beside them and a second call goes on from there; sessions
    that an infrastructure error ended are run again.

    Raises:
        InputError: the tasks cannot be read, or what is there is of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept.
    """
    require_tasks(files)
    description = dict(make_agent(agent).describe())
    facts = run_facts(files, project, dataset, databases, description, config=None)
    summary = run_batch(
        TaskSource(files.tasks, facts),
        files.partial,
        databases=databases,
        agent=agent,
        identity=run_identity(files, description),
        limits=limits,
        progress=progress,
    )
    files.finish()
    return summary


def require_tasks(files: RunFiles) -> None:
    """Make sure that there are tasks.

    Raises:
        InputError: there are none.
    """
    if not files.tasks.is_file():
        raise InputError(f"There are no tasks at {files.tasks}; materialize atlas_tasks first.")


def run_facts(
    files: RunFiles,
    project: Project,
    dataset: str,
    databases: Databases,
    agent: Mapping[str, Any],
    *,
    config: Path | None,
) -> dict[str, Any]:
    """What all sessions of a run have in common."""
    return {
        "dataset": dataset,
        "agent": agent,
        "config_path": None if config is None else _relative(config, project),
        "conversations_path": _relative(project.dataset_file(dataset), project),
        "tasks_path": _relative(files.tasks, project),
        # Only who asks models has a configuration, and only then litellm has a say.
        "software": software_versions(databases.sandbox, more=("litellm",) if config else ()),
    }


def run_identity(files: RunFiles, agent: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run this run: its sessions can only be gone on with by the same."""
    return {
        "tasks_sha256": sha256_of_file(files.tasks),
        "agent": agent,
        "code": code_fingerprint(),
    }


def _relative(path: Path, project: Project) -> str:
    """`path` as it reads inside the project, so that a baseline can be moved."""
    absolute = path.resolve()
    return (
        absolute.relative_to(project.root) if absolute.is_relative_to(project.root) else path
    ).as_posix()
