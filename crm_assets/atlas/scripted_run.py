"""Runs of scripted agents over tasks: sessions of the harness alone (`execution_mode: harness`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from crm_assets.atlas.header import run_header
from crm_assets.atlas.records import harness_record, rescored_record
from crm_assets.atlas.repeated_run import rescored_run
from crm_assets.atlas.task_run import Taking, TaskRun
from crm_assets.database import Databases
from crm_assets.engine import Limits, OnProgress, RunSummary, ScriptedRunners, Work, WorkItem, run_work
from crm_assets.harness import AgentSpec, make_agent
from crm_assets.records import RunHeader
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project

__all__ = ["ScriptedRun", "run_sessions"]


def run_sessions(
    files: RunFiles,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    agent: AgentSpec,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    progress: OnProgress | None = None,
) -> RunSummary:
    """Run the tasks of a run with a scripted agent; its sessions appear when all have finished.

    Until then finished sessions are kept beside them and a second call resumes there; sessions that an
    infrastructure error ended are run again.

    Args:
        files: of the run.
        project: where the dataset is.
        databases: where the sandboxes are.
        dataset: its name.
        agent: the agent to run.
        limits: processes and sessions at a time.
        progress: called a few times a second.

    Raises:
        InputError: the tasks cannot be read, or the sessions so far are of another run.
        InfrastructureError: the database or the disk failed for good; what is done is kept; or most
            sessions were lost to such failures.
    """
    return ScriptedRun(files, project, databases, dataset, agent, limits).run(Taking(progress=progress))


@dataclass
class ScriptedRun(TaskRun):
    """A run of a scripted agent."""

    agent: AgentSpec
    limits: Limits = Limits()  # noqa: RUF009  (frozen)

    def header(self) -> RunHeader:
        """Return what all sessions have in common."""
        recorded = self.agent.recorded
        return run_header(
            self.files,
            self.project,
            self.dataset,
            self.databases,
            make_agent(self.agent).describe(),
            config=None,
            replay_of=None if recorded is None else rescored_run(self.project, recorded),
        )

    def take_items(self, files: RunFiles, items: Sequence[WorkItem], taking: Taking) -> RunSummary:
        """Run the sessions of some items that `files` do not hold yet."""
        header = self.header()
        replay_of = header.replay_of
        record = harness_record if replay_of is None else partial(rescored_record, replayed=replay_of.name)
        runners = ScriptedRunners(self.agent, record, self.databases.sandbox_is_local)
        return run_work(
            Work(items, self.source(), runners),
            files.partial,
            databases=self.databases,
            identity=header.identity(),
            facts=header.facts(),
            limits=replace(self.limits, seconds=taking.seconds),
            progress=taking.progress,
            stop=taking.stop,
        )
