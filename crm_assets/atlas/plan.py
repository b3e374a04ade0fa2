"""What a user asks of a run's sessions, and how it is done, whoever the agent is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from crm_assets.atlas.config_file import ConfigOverrides, LearningMode, ModelRole, load_config
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, RunFiles
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.atlas.config import Engine, ExecutionMode
    from crm_assets.atlas.model_run import ModelRun
    from crm_assets.atlas.transcript import Feedback
    from crm_assets.database import Databases
    from crm_assets.engine import OnProgress, RunSummary
    from crm_assets.harness import AgentName

__all__ = ["DEFAULT_CONFIG", "AgentKind", "SessionPlan", "find_ledger", "run_plan"]

AgentKind = Literal["atlas", "student", "replay", "noop", "recorded"]
"""Who works: the whole Atlas loop, its student alone, or an agent that needs no model."""

DEFAULT_CONFIG = "crm_harness.dev.yaml"

_SESSIONS_AT_A_TIME = 16  # of language models, which mostly wait


@dataclass(frozen=True)
class SessionPlan:
    """A user's choices; None leaves one to the configuration or to what suits the agent."""

    agent: AgentKind = "atlas"
    recorded: Path | None = None
    """The past results file of the agent `recorded`."""
    config: Path | None = None
    """The Atlas configuration; None for the project's `crm_harness.dev.yaml`."""
    models: Mapping[ModelRole, str] = field(default_factory=dict)
    """By role, as `provider/model`, instead of the configuration's."""
    learning: LearningMode | None = None
    mode: ExecutionMode | None = None
    feedback: Feedback | None = None
    engine: Engine | None = None
    """Who drives the loop: crm_assets, or the Atlas SDK."""
    epochs: int = 1
    concurrency: int | None = None
    """Sessions at a time (in each process)."""
    workers: int = 1
    """Processes; agents that ask models need only one."""
    budget_usd: float | None = None
    budget_tokens: int | None = None
    replay: Path | None = None
    """The ledger of a recorded run, to be answered from."""

    def __post_init__(self) -> None:
        if self.agent not in get_args(AgentKind):
            raise InputError(f"There is no agent {self.agent!r}; choose {', '.join(get_args(AgentKind))}.")
        if self.asks_models:
            if self.recorded is not None:
                raise InputError("Only the agent 'recorded' takes the results file of a past run.")
            if self.workers != 1:
                raise InputError(f"Agent {self.agent!r} runs in one process; raise --sessions instead.")
            return
        if (self.agent == "recorded") != (self.recorded is not None):
            raise InputError(
                "The agent 'recorded', and no other, needs a past run's results file (--recorded FILE)."
            )
        chosen = {
            "config": self.config,
            "models": self.models or None,
            "learning": self.learning,
            "mode": self.mode,
            "feedback": self.feedback,
            "engine": self.engine,
            "epochs": None if self.epochs == 1 else self.epochs,
            "budget_usd": self.budget_usd,
            "budget_tokens": self.budget_tokens,
            "replay": self.replay,
        }
        for name, value in chosen.items():
            if value is not None:
                raise InputError(f"Agent {self.agent!r} asks no model, so {name} means nothing for it.")

    @property
    def asks_models(self) -> bool:
        """Whether language models are asked."""
        return self.agent in ("atlas", "student")


def run_plan(
    files: RunFiles,
    plan: SessionPlan,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    progress: OnProgress | None = None,
) -> RunSummary:
    """Work off the tasks of a run as planned; its sessions appear when all are through.

    Raises:
        ConfigError: the configuration cannot be used, or a model cannot be asked.
        InputError: the tasks cannot be read, or what is there is of another run.
        InfrastructureError: a database or the disk failed for good; what is done is kept.
    """
    if plan.asks_models:
        from crm_assets.atlas.model_run import run_models  # noqa: PLC0415  (not for scripted agents)

        return run_models(
            files,
            model_run(plan, project),
            project=project,
            databases=databases,
            dataset=dataset,
            progress=progress,
        )
    from crm_assets.atlas.scripted_run import run_sessions  # noqa: PLC0415
    from crm_assets.engine import Limits  # noqa: PLC0415
    from crm_assets.harness import AgentSpec  # noqa: PLC0415

    return run_sessions(
        files,
        project=project,
        databases=databases,
        dataset=dataset,
        agent=AgentSpec(name=cast("AgentName", plan.agent), recorded=plan.recorded),
        limits=Limits(workers=plan.workers, concurrency=plan.concurrency or 1),
        progress=progress,
    )


def model_run(plan: SessionPlan, project: Project) -> ModelRun:
    """The run of language models that `plan` describes.

    Raises:
        ConfigError: the configuration cannot be used.
        InputError: a number makes no sense.
    """
    from crm_assets.atlas.model_run import ModelRun, RunOptions  # noqa: PLC0415
    from crm_assets.database import read_environment  # noqa: PLC0415

    config = load_config(
        plan.config or project.configs / DEFAULT_CONFIG,
        environment=read_environment(project),
        overrides=ConfigOverrides(plan.models, plan.learning, plan.mode, plan.feedback, plan.engine),
    )
    return ModelRun(
        config=config,
        loop="student" if plan.agent == "student" else "atlas",
        options=RunOptions(
            concurrency=plan.concurrency or _SESSIONS_AT_A_TIME,
            epochs=plan.epochs,
            budget_usd=plan.budget_usd,
            budget_tokens=plan.budget_tokens,
        ),
        replay=plan.replay,
    )


def find_ledger(project: Project, dataset: str, named: str) -> Path:
    """The ledger of the run that a user names: by its key, its folder, or the file itself.

    Raises:
        InputError: there is none.
    """
    path = Path(named)
    if path.is_dir():
        path = RunFiles(path).ledger
    elif not path.is_file():
        path = BaselinePaths.of(project, BaselineKey.of(dataset, named)).ledger
    if not path.is_file():
        raise InputError(f"There is no ledger at {path}; name a run that asked models.")
    return path
