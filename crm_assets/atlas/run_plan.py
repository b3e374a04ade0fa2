"""Runs a plan's sessions over the tasks of a run, with any agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from crm_assets.atlas.plan import SessionPlan
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, RunFiles
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.atlas.model_facts import ModelRun
    from crm_assets.atlas.task_run import TaskRun
    from crm_assets.database import Databases
    from crm_assets.engine import OnProgress, RunSummary
    from crm_assets.harness import AgentName, AgentSpec
    from crm_assets.records.estimate import CostEstimate

__all__ = [
    "DEFAULT_CONFIG",
    "asks_judge",
    "find_ledger",
    "load_run",
    "open_run",
    "run_plan",
    "scripted_agent",
]

DEFAULT_CONFIG = "crm_harness.dev.yaml"


def run_plan(
    files: RunFiles,
    plan: SessionPlan,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    progress: OnProgress | None = None,
    estimate: CostEstimate | None = None,
) -> RunSummary:
    """Run the tasks in `files` as planned; `sessions.jsonl` appears when all of them are done.

    Args:
        files: of the run.
        plan: of its sessions.
        project: where keys and the dataset are.
        databases: where the sandboxes and the telemetry are.
        dataset: its name.
        progress: called a few times a second.
        estimate: of the cost of a run that begins, to be kept with it.

    Raises:
        ConfigError: the configuration cannot be used, or a model cannot be called.
        InputError: the tasks cannot be read, or the files are of another run.
        InfrastructureError: a database or the disk failed for good; finished sessions are kept.
    """
    from crm_assets.atlas.task_run import Taking  # noqa: PLC0415  (heavy)

    run = open_run(files, plan, project=project, databases=databases, dataset=dataset, estimate=estimate)
    return run.run(Taking(progress=progress))


def open_run(
    files: RunFiles,
    plan: SessionPlan,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    estimate: CostEstimate | None = None,
) -> TaskRun:
    """Return the run of a plan over the tasks in `files`, of whatever agent; nothing is written yet.

    Arguments are as of `run_plan`.

    Raises:
        ConfigError: the configuration cannot be used.
        InputError: there is no ledger to replay.
    """
    if plan.asks_models:
        from crm_assets.atlas.model_run import ModelTaskRun  # noqa: PLC0415  (not for scripted agents)

        loaded = load_run(plan, project, dataset)
        return ModelTaskRun(files, project, databases, dataset, loaded, estimate)
    from crm_assets.atlas.scripted_run import ScriptedRun  # noqa: PLC0415  (not for agents with models)
    from crm_assets.engine import Limits  # noqa: PLC0415  (likewise)

    limits = Limits(workers=plan.workers, concurrency=plan.sessions_at_a_time)
    return ScriptedRun(files, project, databases, dataset, scripted_agent(plan, project), limits)


def load_run(plan: SessionPlan, project: Project, dataset: str) -> ModelRun:
    """Load what a plan with models names: its configuration, and the ledger that it replays.

    Raises:
        ConfigError: the configuration cannot be used.
        InputError: there is no such ledger.
    """
    from crm_assets.atlas.config_file import load_config  # noqa: PLC0415  (heavy)
    from crm_assets.atlas.model_facts import ModelRun  # noqa: PLC0415  (likewise)
    from crm_assets.database import read_environment  # noqa: PLC0415  (likewise)

    loaded = load_config(_config_path(plan, project), environment=read_environment(project), plan=plan)
    return ModelRun(
        plan,
        loaded,
        namespace=loaded.config.learning.namespace or dataset,
        replay=find_ledger(project, dataset, plan.replay) if plan.replay else None,
    )


def asks_judge(plan: SessionPlan, project: Project) -> bool:
    """Return whether a judge decides on turns that comparison cannot: never for an agent without models.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    if not plan.asks_models:
        return False
    from crm_assets.atlas.config_file import load_config  # noqa: PLC0415  (heavy)
    from crm_assets.database import read_environment  # noqa: PLC0415  (likewise)

    return load_config(
        _config_path(plan, project), environment=read_environment(project), plan=plan
    ).config.agent.use_llm_judge


def _config_path(plan: SessionPlan, project: Project) -> Path:
    return project.root / plan.config if plan.config else project.configs / DEFAULT_CONFIG


def scripted_agent(plan: SessionPlan, project: Project) -> AgentSpec:
    """Return the agent of a plan without models."""
    from crm_assets.harness import AgentSpec  # noqa: PLC0415  (likewise)

    recorded = project.root / plan.recorded if plan.recorded else None
    return AgentSpec(name=cast("AgentName", plan.agent), recorded=recorded)


def find_ledger(project: Project, dataset: str, named: Path) -> Path:
    """Return the ledger of the run that a user names: by its key, its folder, or the file itself.

    Raises:
        InputError: there is none.
    """
    path = project.root / named
    if path.is_dir():
        path = RunFiles(path).ledger
    elif not path.is_file():
        path = BaselinePaths.of(project, BaselineKey.of(dataset, str(named))).ledger
    if not path.is_file():
        raise InputError(f"There is no ledger at {path}; name a run that asked models.")
    return path
