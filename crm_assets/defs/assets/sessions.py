"""The sessions of a baseline."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import load_run, require_resumable, run_plan
from crm_assets.atlas.run_playbook import read_run_playbook
from crm_assets.atlas.saved_plan import limit_to_go_on_with, save_plan
from crm_assets.atlas.sweep_budget import planned
from crm_assets.defs.assets.playbook import playbook, playbook_written
from crm_assets.defs.assets.progress import session_progress, tell
from crm_assets.defs.assets.spending import estimate_metadata, spending_metadata
from crm_assets.defs.assets.tasks import atlas_tasks
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.resources import (
    ArtifactsResource,
    PostgresResource,
    SandboxReset,
    SandboxResource,
    TelemetryResource,
)
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.defs.stages import (
    GROUP,
    OWNERS,
    file_result,
    leased,
    require,
    tags,
    transcripts_link,
)
from crm_assets.engine import SessionCounts, tally_of
from crm_assets.errors import InfrastructureError
from crm_assets.llm import Spending, ledger_totals
from crm_assets.records import SessionLog
from crm_assets.reporting.estimate.run import RunEstimate, estimate_run
from crm_assets.reporting.formats import counted
from crm_assets.reporting.origin import origin_of
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import prepare

__all__ = ["POOL", "SessionsConfig", "atlas_sessions"]

POOL = "language_models"
"""Dagster's pool of the runs that ask models: they share the providers' limits."""

_PAUSE_SECONDS = 15.0


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("sessions"),
    partitions_def=BASELINE_PARTITIONS,
    deps=[atlas_tasks, playbook],
    code_version="3",
    kinds={"jsonl", "postgres", "litellm"},
    pool=POOL,
)
def atlas_sessions(
    context: dg.AssetExecutionContext,
    config: SessionsConfig,
    *,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
    sandbox: SandboxResource,
    telemetry: TelemetryResource,
) -> dg.MaterializeResult[None]:
    """A session for each task, run on the CRM sandbox and verified turn by turn: `sessions.jsonl`.

    With the agent `atlas` a student works, a teacher validates, judges reward and a learner learns; the
    telemetry database keeps all of it. The file appears when all sessions are done; a stopped run resumes.
    Read by `baseline_metrics` and by `crm-assets show`.
    """
    with leased(context, artifacts) as paths:
        plan = _plan(config, artifacts.project, paths)
        require(paths.tasks, atlas_tasks.key.to_user_string())
        again = context.retry_number > 0 or (context.run.parent_run_id is not None and not paths.finished)
        overwrite = config.overwrite and not again
        estimate = _estimated(context, artifacts.project, paths, config, plan, overwrite=overwrite)
        if config.resume and paths.has_sessions and not again:
            require_resumable(
                paths,
                plan,
                project=artifacts.project,
                databases=postgres.databases(),
                dataset=paths.key.dataset,
            )
            paths.reopen()
        # What an earlier attempt has finished is resumed, whether of this run or of the one it retries.
        if not prepare(paths, paths.sessions, overwrite=overwrite):
            return _kept(context, artifacts.project, paths)
        if not paths.begun:
            save_plan(artifacts.project, paths, plan, limit=limit_to_go_on_with(paths, None))
        try:
            reset = sandbox.reset()
            tell(context, _described(reset))
            summary = run_plan(
                paths,
                plan,
                project=artifacts.project,
                databases=postgres.databases(),
                dataset=paths.key.dataset,
                progress=session_progress(context),
                estimate=None if estimate is None else estimate.cost,
            )
        except InfrastructureError as error:
            if context.retry_number >= config.retries:
                raise
            context.log.warning(f"{error} Resuming in {_PAUSE_SECONDS:g} s; finished sessions are kept.")
            raise dg.RetryRequested(config.retries, seconds_to_wait=_PAUSE_SECONDS) from error
        if not paths.plan.exists():
            save_plan(artifacts.project, paths, plan)
    _tell_playbook(context, paths)
    tell(context, f"{counted(summary.total, 'session')} in {summary.seconds:.1f} s")
    return file_result(
        artifacts.project,
        paths.sessions,
        {
            "agent": plan.agent,
            **_counts(summary),
            **transcripts_link(paths),
            "done_before": summary.resumed,
            "sandboxes_discarded": summary.sandboxes_discarded,
            "seconds": round(summary.seconds, 3),
            **spending_metadata(paths.ledger),
            **_repeated(paths),
            **estimate_metadata(estimate),
            **_stored(context, telemetry, plan, paths, artifacts.project),
            "sandboxes_reset": reset.sandboxes,
            "sandboxes_remade": reset.remade,
            "sandbox_fingerprint": reset.fingerprint,
            "budget_usd": plan.budget_usd,
            "budget_tokens": plan.budget_tokens,
        },
    )


def _plan(config: SessionsConfig, project: Project, paths: BaselinePaths) -> SessionPlan:
    """Return the options of the run: those of the launchpad, or what a sweep planned for it."""
    if not config.as_planned:
        return config.plan()
    paths.protect(overwrite=config.overwrite or config.resume)
    return planned(project, paths).sessions


def _estimated(
    context: dg.AssetExecutionContext,
    project: Project,
    paths: BaselinePaths,
    config: SessionsConfig,
    plan: SessionPlan,
    *,
    overwrite: bool,
) -> RunEstimate | None:
    """Tell what the sessions to run will cost; None if nothing is to be paid.

    Raises:
        InputError: it may be more than the configuration's limit, with no budget, and nobody accepted it.
    """
    if paths.has_sessions and not (overwrite or config.resume):
        return None  # they are kept
    files = None if overwrite else paths
    estimate = estimate_run(project, paths.key.dataset, plan, files=files, tasks=paths.tasks)
    if estimate is not None:
        context.log.info(estimate.summary)
        context.instance.add_run_tags(context.run.run_id, {"crm_assets/estimate": estimate.amount})
        if estimate.needs_consent and not config.accept_cost:
            raise estimate.refusal()
    return estimate


def _kept(
    context: dg.AssetExecutionContext, project: Project, paths: BaselinePaths
) -> dg.MaterializeResult[None]:
    """Return the result of sessions that an earlier run of Dagster made, and that stay as they are."""
    tally = tally_of(paths.sessions)
    tell(context, f"{counted(tally.total, 'session')} done before, and kept")
    agent = (SessionLog(paths.sessions).header.agent_config or {}).get("name")
    return file_result(
        project,
        paths.sessions,
        {
            "agent": agent,
            **_counts(tally),
            **transcripts_link(paths),
            "done_before": tally.total,
            **spending_metadata(paths.ledger),
            **_repeated(paths),
        },
    )


def _tell_playbook(context: dg.AssetExecutionContext, paths: BaselinePaths) -> None:
    """Record in Dagster what the run made of the playbook."""
    if not paths.playbook.is_file():
        return
    document = read_run_playbook(paths)
    if document.learning == "on":
        context.log_event(playbook_written(document))
    if document.awaiting_approval:
        waiting = counted(document.awaiting_approval, "session")
        tell(
            context, f"waiting for approval, so not in the playbook yet: {waiting} (crm-assets review list)"
        )


def _described(reset: SandboxReset) -> str:
    remade = f", {reset.remade} of them recreated" if reset.remade else ""
    return f"{counted(reset.sandboxes, 'sandbox', 'sandboxes')} reset{remade}"


def _stored(
    context: dg.AssetExecutionContext,
    telemetry: TelemetryResource,
    plan: SessionPlan,
    paths: BaselinePaths,
    project: Project,
) -> dict[str, Any]:
    """Return what the telemetry database holds of the sessions, with the last one's row."""
    if plan.agent != "atlas" or plan.replay is not None:
        return {}
    configured = load_run(plan, project, paths.key.dataset).config.config.storage.database_url
    try:
        rows = telemetry.rows(paths.key.run_id, configured)
    except InfrastructureError as error:  # the sessions are finished, and paid for
        context.log.warning(f"{error} What it holds of these sessions is not shown.")
        return {}
    last = max(rows, key=lambda row: row.id, default=None)
    return {
        "telemetry_sessions": len(rows),
        "telemetry_row": None if last is None else dg.MetadataValue.json(last._asdict()),
    }


def _counts(summary: SessionCounts) -> dict[str, Any]:
    return {
        "sessions": summary.total,
        "strict_success": summary.succeeded,
        "no_strict_success": summary.failed,
        "undecided": summary.undecided,
        "infrastructure_failures": summary.infrastructure_errors,
        "not_recorded": summary.not_recorded,
        "not_run": summary.not_run,
    }


def _repeated(paths: BaselinePaths) -> dict[str, Any]:
    """Return the costs of a run that repeats another: its own are none, the ledger has the other's."""
    header = SessionLog(paths.sessions).header
    origin = origin_of(header.agent_config, header.replay_of)
    if origin is None:
        return {}
    recorded = Spending.total(ledger_totals(paths.ledger).values()) if paths.ledger.is_file() else None
    return {
        "repeats": origin.label,
        "tokens": 0,
        "cost_usd": 0.0,
        "recorded_tokens": recorded.usage.total_tokens if recorded else None,
        "recorded_cost_usd": recorded.cost_usd if recorded else None,
    }
