"""What a user may choose for a run's sessions, as Dagster's launchpad shows it."""

# No postponed annotations here: Dagster reads the fields' types off the class as it stands.

from pathlib import Path
from typing import Literal

from pydantic import Field

from crm_assets.atlas.config_file import ModelRole
from crm_assets.atlas.plan import AgentKind, SessionPlan, find_ledger
from crm_assets.defs.assets.common import StageConfig
from crm_assets.workspace.project import Project

__all__ = ["AS_CONFIGURED", "SessionsConfig"]

AS_CONFIGURED: Literal["as_configured"] = "as_configured"
"""Leaves a choice to the configuration: Dagster knows no choice that may also be left empty."""

_ROLES: tuple[ModelRole, ...] = ("student", "teacher", "judge", "learner")


class SessionsConfig(StageConfig):
    """Options of `atlas_sessions`."""

    agent: AgentKind = Field(
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
    learning: Literal["as_configured", "on", "frozen", "off"] = Field(
        default=AS_CONFIGURED,
        description="'on' (each session of a key learns), 'frozen' (what was learnt is used) or 'off'.",
    )
    mode: Literal["as_configured", "auto", "paired", "coach"] = Field(
        default=AS_CONFIGURED, description="The execution mode of all sessions."
    )
    feedback: Literal["as_configured", "none", "verdicts", "oracle"] = Field(
        default=AS_CONFIGURED,
        description="What judges and learner are told: nothing, whether turns were right, or the right "
        "calls, too.",
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
    retries: int = Field(
        default=2,
        ge=0,
        description="How often sessions that the infrastructure stopped are gone on with, after a pause; "
        "what is done is not run or paid for again.",
    )

    @classmethod
    def of(
        cls, plan: SessionPlan, *, overwrite: bool = False, resume: bool = False, retries: int = 2
    ) -> "SessionsConfig":
        """The options that say what `plan` says."""
        return cls(
            overwrite=overwrite,
            resume=resume,
            retries=retries,
            agent=plan.agent,
            recorded=_text(plan.recorded),
            config=_text(plan.config),
            **{role: plan.models.get(role) for role in _ROLES},
            learning=plan.learning or AS_CONFIGURED,
            mode=plan.mode or AS_CONFIGURED,
            feedback=plan.feedback or AS_CONFIGURED,
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
            agent=self.agent,
            recorded=_path(project, self.recorded),
            config=_path(project, self.config),
            models={role: name for role, name in models.items() if name is not None},
            learning=None if self.learning == AS_CONFIGURED else self.learning,
            mode=None if self.mode == AS_CONFIGURED else self.mode,
            feedback=None if self.feedback == AS_CONFIGURED else self.feedback,
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
