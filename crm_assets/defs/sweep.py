"""The job `sweep`: agents × configurations × datasets × repeats, queued as one backfill."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from functools import partial

import dagster as dg
from pydantic import Field

from crm_assets.defs.commands import run_command
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import expected_errors

__all__ = ["SWEEP_JOB", "SweepConfig", "sweep"]

SWEEP_JOB = "sweep"


class SweepConfig(dg.Config):
    """Options of the job `sweep`."""

    file: str = Field(
        default="sweep.yaml", description="The sweep's file, relative to the project (docs/sweeps.md)."
    )
    run: str | None = Field(
        default=None, description="Sweep to go on with, by its key, instead of a new one."
    )
    accept_cost: bool = Field(
        default=False,
        description="Run although it may cost more than the configuration's confirm_above_usd and has no "
        "budget.",
    )

    def words(self) -> list[str]:
        """Return these options as those of the command."""
        named = [self.file] if self.run is None else ["--run", self.run]
        return ["sweep", *named, "--detach", *(["--yes"] if self.accept_cost else [])]


@dg.op
def plan_sweep(context: dg.OpExecutionContext, config: SweepConfig, artifacts: ArtifactsResource) -> None:
    """Plan the runs of a sweep and queue them as a backfill, which the daemon makes."""
    with expected_errors():
        run_command(config.words(), artifacts.project.root, partial(context.log.info, "%s"))


@dg.job(
    name=SWEEP_JOB,
    description="Agents × configurations × datasets × repeats, as a file says: plans each combination as a "
    "baseline and queues all of them as one backfill, with one budget. The run ends when they are queued.",
)
def sweep() -> None:
    """Plan the runs of a sweep and queue them as a backfill."""
    plan_sweep()
