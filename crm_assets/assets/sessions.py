"""What happened when a baseline's tasks were run."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from pathlib import Path
from typing import Any, cast

import dagster as dg
from pydantic import Field

from crm_assets.assets.common import GROUP, StageConfig, expected_errors, file_result, require
from crm_assets.assets.progress import session_progress, tell
from crm_assets.assets.tasks import atlas_tasks
from crm_assets.atlas.config import ExecutionMode
from crm_assets.atlas.config_file import LearningMode, ModelRole
from crm_assets.atlas.plan import Performer, SessionPlan, find_ledger, run_plan
from crm_assets.atlas.transcript import Feedback
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.project import Project
from crm_assets.resources import ArtifactsResource

__all__ = ["SessionsConfig", "atlas_sessions"]

_ROLES: tuple[ModelRole, ...] = ("student", "teacher", "judge", "learner")


class SessionsConfig(StageConfig):
    """Options of `atlas_sessions`."""

    agent: str = Field(
        default="atlas",
        description="Who works: 'atlas' (student, teacher, judges, learner), 'student' (it alone), "
        "'replay' (the ground truth), 'noop' (does nothing) or 'recorded' (a past results file).",
    )
    recorded: str | None = Field(default=None, description="The past results file of the agent 'recorded'.")
    config: str | None = Field(
        default=None,
        description="The Atlas configuration, from the project's folder; left out, "
        "configs/atlas/crm_harness.dev.yaml.",
    )
    student: str | None = Field(default=None, description="Another student model: provider/model.")
    teacher: str | None = Field(default=None, description="Another teacher model: provider/model.")
    judge: str | None = Field(default=None, description="Another model for all judges: provider/model.")
    learner: str | None = Field(default=None, description="Another learner model: provider/model.")
    learning: str | None = Field(
        default=None,
        description="'on' (each session of a key learns), 'frozen' (what was learnt is used) or 'off'; "
        "left out, as configured.",
    )
    mode: str | None = Field(
        default=None, description="'auto', 'paired' or 'coach' for all sessions; left out, as configured."
    )
    feedback: str | None = Field(
        default=None,
        description="What judges and learner are told: 'none', 'verdicts' or 'oracle'; left out, as "
        "configured.",
    )
    epochs: int = Field(default=1, ge=1, description="How often every conversation is run.")
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Sessions at a time (in each process); left out, 16 where models are asked, else 1.",
    )
    workers: int = Field(default=1, ge=1, description="Processes, for agents that ask no model.")
    budget_usd: float | None = Field(default=None, gt=0, description="Most dollars that the run may cost.")
    budget_tokens: int | None = Field(default=None, ge=1, description="Most tokens that the run may use.")
    replay: str | None = Field(
        default=None,
        description="A recorded run (its key, or its ledger) to answer all calls from; nobody is asked.",
    )
    resume: bool = Field(
        default=False,
        description="Run again what has no verdict in a finished baseline: infrastructure failures, and "
        "what the budget did not suffice for.",
    )

    @classmethod
    def of(cls, plan: SessionPlan, *, overwrite: bool = False, resume: bool = False) -> "SessionsConfig":
        """The options that say what `plan` says."""
        return cls(
            overwrite=overwrite,
            resume=resume,
            agent=plan.agent,
            recorded=_text(plan.recorded),
            config=_text(plan.config),
            **{role: plan.models.get(role) for role in _ROLES},
            learning=plan.learning,
            mode=plan.mode,
            feedback=plan.feedback,
            epochs=plan.epochs,
            concurrency=plan.concurrency,
            workers=plan.workers,
            budget_usd=plan.budget_usd,
            budget_tokens=plan.budget_tokens,
            replay=_text(plan.replay),
        )

    def plan(self, project: Project, dataset: str) -> SessionPlan:
        """What these options ask for.

        Raises:
            InputError: they make no sense together.
        """
        models: dict[ModelRole, str | None] = {
            "student": self.student,
            "teacher": self.teacher,
            "judge": self.judge,
            "learner": self.learner,
        }
        return SessionPlan(
            agent=cast(Performer, self.agent),  # the plan refuses what is none
            recorded=_path(project, self.recorded),
            config=_path(project, self.config),
            models={role: name for role, name in models.items() if name is not None},
            learning=cast(LearningMode | None, self.learning),  # the configuration refuses what is none
            mode=cast(ExecutionMode | None, self.mode),
            feedback=cast(Feedback | None, self.feedback),
            epochs=self.epochs,
            concurrency=self.concurrency,
            workers=self.workers,
            budget_usd=self.budget_usd,
            budget_tokens=self.budget_tokens,
            replay=find_ledger(project, dataset, self.replay) if self.replay else None,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _path(project: Project, text: str | None) -> Path | None:
    return None if text is None else project.root / text


@dg.asset(
    group_name=GROUP,
    partitions_def=BASELINE_PARTITIONS,
    deps=[atlas_tasks],
    code_version="2",
    kinds={"json", "postgres", "litellm"},
)
def atlas_sessions(
    context: dg.AssetExecutionContext, config: SessionsConfig, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """A session for each task, run on the CRM sandbox and verified turn by turn: `sessions.jsonl`.

    With the agent `atlas` a student works, a teacher validates, judges reward, a learner distils, and all
    of it is kept in the telemetry database. The file appears when all sessions have run; a run that was
    stopped goes on where it was.
    """
    with expected_errors():
        key = baseline_of(context)
        paths = artifacts.baseline(key)
        plan = config.plan(artifacts.project, key.dataset)
        require(paths.tasks, atlas_tasks.key.to_user_string())
        if config.resume and paths.finished:
            paths.reopen()
        paths.begin(paths.sessions, overwrite=config.overwrite)
        summary = run_plan(
            paths,
            plan,
            project=artifacts.project,
            dataset=key.dataset,
            progress=session_progress(context),
        )
    tell(context, f"{summary.total} sessions in {summary.seconds:.1f} s")
    metadata: dict[str, Any] = {
        "agent": config.agent,
        "sessions": summary.total,
        "all_turns_right": summary.succeeded,
        "not_all_right": summary.failed,
        "undecided": summary.undecided,
        "infrastructure_failures": summary.infrastructure_errors,
        "not_recorded": summary.not_recorded,
        "not_run": summary.not_run,
        "done_before": summary.resumed,
        "sandboxes_discarded": summary.sandboxes_discarded,
        "seconds": round(summary.seconds, 3),
    }
    if paths.ledger.is_file():
        metadata["ledger"] = dg.MetadataValue.path(str(paths.ledger))
    return file_result(paths.sessions, metadata)
