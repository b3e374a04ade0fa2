"""Options of a run's sessions, as Dagster's launchpad shows them: made from the fields of `SessionPlan`."""

# No postponed annotations here: Dagster reads the fields' types off the class as it stands.

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from crm_assets.atlas.plan import PlanField, SessionPlan, plan_fields
from crm_assets.defs.stages import StageConfig
from crm_assets.engine import MOST_SHARDS, Shard

__all__ = ["AS_CONFIGURED", "SessionsConfig"]

AS_CONFIGURED = "as_configured"
"""Stands for None among choices, since Dagster has no choice that may be left empty."""


def _launchpad_field(field: PlanField) -> Any:
    """Return a plan's field in types that Dagster knows, with its description and bounds."""
    kind: Any = str if field.type is Path else field.type
    default = field.default
    if field.choices:
        kind = Literal[field.choices if default else (AS_CONFIGURED, *field.choices)]
        default = default or AS_CONFIGURED
    elif default is None:
        kind = kind | None
    parts = (kind, Field(description=field.help), *field.bounds)
    return Annotated[parts], default


if TYPE_CHECKING:
    _PlanConfig = StageConfig  # a class made at run time is no type to mypy
else:
    _PlanConfig = create_model(
        "_PlanConfig",
        __base__=StageConfig,
        **{field.name: _launchpad_field(field) for field in plan_fields()},
    )


class SessionsConfig(_PlanConfig):
    """Options of `atlas_sessions`."""

    resume: bool = Field(
        default=False,
        description="Run again the sessions of a finished baseline that have no verdict: infrastructure "
        "errors, and sessions that the budget did not cover.",
    )
    retries: int = Field(
        default=2,
        ge=0,
        description="How often a run that an infrastructure error stopped is resumed, after a pause; "
        "finished sessions are neither run nor paid for again.",
    )

    as_planned: bool = Field(
        default=False,
        description="Take the options from the run's plan.json instead, which a sweep wrote.",
    )
    accept_cost: bool = Field(
        default=False,
        description="Run although it may cost more than the configuration's confirm_above_usd and has no "
        "budget.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=MOST_SHARDS,
        description="Parts that the sessions are divided into, for an executor that runs several steps at "
        "a time. Those of one learning key stay together while learning is on.",
    )
    shard_minutes: float = Field(
        default=20.0,
        gt=0,
        description="After so long a shard of several begins no further session and goes on in its next "
        "pass, on whichever worker is free: some brokers deliver a longer step twice.",
    )

    @classmethod
    def of(cls, plan: SessionPlan, **options: Any) -> "SessionsConfig":
        """Return the options that say what `plan` says.

        Args:
            plan: of the sessions.
            options: those that are of no plan, where they differ from their defaults.
        """
        return cls(**plan.model_dump(mode="json", exclude_none=True), **options)

    def seconds_of(self, shard: Shard) -> float | None:
        """Return after how long a shard begins no further session; None for no limit."""
        return None if shard.of == 1 else self.shard_minutes * 60

    def plan(self) -> SessionPlan:
        """Return what these options ask for.

        Raises:
            InputError: they do not go together.
        """
        chosen = {field.name: getattr(self, field.name) for field in plan_fields()}
        return SessionPlan(**{name: value for name, value in chosen.items() if value != AS_CONFIGURED})
