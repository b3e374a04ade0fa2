"""The tasks of a baseline."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from crm_assets.atlas.choices import AgentKind
from crm_assets.atlas.plan import MODEL_AGENTS, SessionPlan
from crm_assets.atlas.run_plan import asks_judge
from crm_assets.atlas.saved_plan import saved_plan
from crm_assets.atlas.tasks import write_tasks
from crm_assets.conversations.revision import read_revision_file
from crm_assets.conversations.split import Split, Subset
from crm_assets.defs.assets.dataset_revision import dataset_revision
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import (
    GROUP,
    OWNERS,
    StageConfig,
    file_result,
    leased,
    tags,
)
from crm_assets.errors import InputError
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import prepare

__all__ = ["TasksConfig", "atlas_tasks"]


class TasksConfig(StageConfig):
    """Options of `atlas_tasks`."""

    limit: int | None = Field(
        default=None,
        ge=1,
        description="Number of conversations, from the start of the dataset; left out, all.",
    )
    part: Literal["all", "teach", "held-out"] = Field(
        default="all",
        description="Part of the conversations, as a study splits them: by content, each learning key on "
        "both sides.",
    )
    split: float = Field(default=0.5, gt=0, lt=1, description="Share of the conversations to teach on.")
    seed: int = Field(default=0, ge=0, description="Of the split.")
    agent: AgentKind = Field(
        default="atlas", description="As of atlas_sessions: an agent without models has no judge."
    )
    config: str | None = Field(
        default=None,
        description="As of atlas_sessions: the Atlas configuration that says whether a judge decides on "
        "turns (agent.use_llm_judge), which each task repeats.",
    )

    as_planned: bool = Field(
        default=False,
        description="Take limit, agent and config from the run's plan.json instead, which a sweep wrote.",
    )

    @classmethod
    def of(
        cls,
        plan: SessionPlan,
        subset: Subset | None = None,
        *,
        limit: int | None = None,
        overwrite: bool = False,
    ) -> "TasksConfig":
        """Return the options that choose these conversations, for the sessions of `plan`."""
        config = None if plan.config is None else str(plan.config)
        if subset is None:
            return cls(overwrite=overwrite, limit=limit, agent=plan.agent, config=config)
        split = subset.split
        return cls(
            overwrite=overwrite,
            limit=split.limit,
            part=subset.part,
            split=split.share,
            seed=split.seed,
            agent=plan.agent,
            config=config,
        )

    def subset(self) -> Subset | None:
        """Return the part that these options choose; None for no part."""
        if self.part == "all":
            return None
        split = Split(share=self.split, seed=self.seed, limit=self.limit)
        return Subset(part=self.part, split=split)

    def asks_judge(self, project: Project) -> bool:
        """Return whether a judge decides on turns.

        Raises:
            ConfigError: the configuration cannot be used.
        """
        if self.agent not in MODEL_AGENTS:
            return False
        config = None if self.config is None else Path(self.config)
        return asks_judge(SessionPlan(agent=self.agent, config=config), project)


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("tasks"),
    partitions_def=BASELINE_PARTITIONS,
    deps=[dataset_revision],
    code_version="1",
    kinds={"jsonl"},
)
def atlas_tasks(
    context: dg.AssetExecutionContext, config: TasksConfig, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """One task for each conversation of the dataset, each with an ID of its own: `tasks.jsonl`.

    Read by `atlas_sessions`, which runs them in this order, and by comparisons between runs, which align
    conversations by it.
    """
    with leased(context, artifacts) as paths:
        key = paths.key
        if config.as_planned and (saved := saved_plan(paths)) is not None:
            config = TasksConfig.of(saved.sessions, limit=saved.limit, overwrite=config.overwrite)
        make = partial(
            write_tasks,
            require_dataset(artifacts.project, key.dataset),
            dataset_revision=read_revision_file(paths.revision).sha256,
            run_id=key.run_id,
            use_llm_judge=config.asks_judge(artifacts.project),
            limit=config.limit,
            subset=config.subset(),
        )
        if prepare(paths, paths.tasks, overwrite=config.overwrite):
            count, limit = make(paths.tasks), config.limit
        else:
            count = _kept(paths, make, chosen=config.limit is not None or config.part != "all")
            limit = count
    tell(context, counted(count, "task"))
    facts = {"tasks": count, "limit": limit, "part": config.part, "run_id": key.run_id}
    return file_result(artifacts.project, paths.tasks, facts)


def _kept(paths: BaselinePaths, make: Callable[[Path], int], *, chosen: bool) -> int:
    """Return how many tasks the run has; if some were `chosen`, they must be those that `make` writes.

    Raises:
        InputError: its sessions were begun on others.
    """
    with paths.tasks.open("rb") as handle:
        before = sum(1 for _ in handle)
    if not chosen:
        return before
    with tempfile.TemporaryDirectory(prefix="crm-assets-") as folder:
        again = Path(folder) / paths.tasks.name
        now = make(again)
        if sha256_of_file(again) == sha256_of_file(paths.tasks):
            return now
    raise InputError(
        f"Run {paths.key.run} was begun on other tasks ({before:,}, and now {now:,}): choose the same part "
        "of the dataset (--limit) or leave it out, or start a new run."
    )
