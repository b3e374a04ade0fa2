"""What happened when a baseline's tasks were run."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from pathlib import Path
from typing import cast

import dagster as dg
from pydantic import Field

from crm_assets.assets.common import GROUP, StageConfig, expected_errors, file_result, require
from crm_assets.assets.progress import session_progress, tell
from crm_assets.assets.tasks import atlas_tasks
from crm_assets.atlas import run_sessions
from crm_assets.harness import AgentName, AgentSpec, Limits
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.resources import ArtifactsResource

__all__ = ["SessionsConfig", "atlas_sessions"]


class SessionsConfig(StageConfig):
    """Options of `atlas_sessions`."""

    agent: str = Field(
        default="replay",
        description="Who answers: 'replay' (the ground truth), 'noop' (does nothing) or 'recorded' "
        "(a past results file).",
    )
    recorded: str | None = Field(default=None, description="The past results file of the agent 'recorded'.")
    workers: int = Field(default=1, ge=1, description="Processes to run side by side.")
    concurrency: int = Field(default=1, ge=1, description="Sessions at a time, in each of them.")


@dg.asset(
    group_name=GROUP,
    partitions_def=BASELINE_PARTITIONS,
    deps=[atlas_tasks],
    code_version="1",
    kinds={"json", "postgres"},
)
def atlas_sessions(
    context: dg.AssetExecutionContext, config: SessionsConfig, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """A session for each task, run on the CRM sandbox and verified turn by turn: `sessions.jsonl`.

    The file appears when all sessions have run; a run that was stopped goes on where it was.
    """
    with expected_errors():
        key = baseline_of(context)
        paths = artifacts.baseline(key)
        require(paths.tasks, atlas_tasks.key.to_user_string())
        paths.begin(paths.sessions, overwrite=config.overwrite)
        summary = run_sessions(
            paths.tasks,
            paths.sessions,
            project=artifacts.project,
            dataset=key.dataset,
            agent=AgentSpec(
                name=cast(AgentName, config.agent),  # run_sessions refuses what is none
                recorded=Path(config.recorded) if config.recorded else None,
            ),
            limits=Limits(workers=config.workers, concurrency=config.concurrency),
            progress=session_progress(context),
        )
    tell(context, f"{summary.total} sessions in {summary.seconds:.1f} s")
    return file_result(
        paths.sessions,
        {
            "agent": config.agent,
            "sessions": summary.total,
            "all_turns_right": summary.succeeded,
            "not_all_right": summary.failed,
            "infrastructure_failures": summary.infrastructure_errors,
            "not_recorded": summary.not_recorded,
            "done_before": summary.resumed,
            "sandboxes_discarded": summary.sandboxes_discarded,
            "seconds": round(summary.seconds, 3),
        },
    )
