"""Describe the sessions of a baseline as an asset's metadata."""

# No postponed annotations here: Dagster reads the resources off functions as they stand.

from collections.abc import Mapping
from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import load_run
from crm_assets.atlas.run_playbook import read_run_playbook
from crm_assets.defs.assets.playbook import playbook_written
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.assets.spending import estimate_metadata, spending_metadata
from crm_assets.defs.resources import TelemetryResource
from crm_assets.defs.stages import file_result, transcripts_link
from crm_assets.engine import RunSummary, SessionCounts, tally_of
from crm_assets.errors import InfrastructureError
from crm_assets.llm import Role, Spending, ledger_totals
from crm_assets.records import SessionLog
from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.formats import counted
from crm_assets.reporting.origin import origin_of
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import Project

__all__ = ["estimate_of", "finished_result", "kept_result", "tell_playbook"]


def finished_result(
    context: dg.OpExecutionContext,
    project: Project,
    paths: BaselinePaths,
    *,
    plan: SessionPlan,
    summary: RunSummary,
    spending: Mapping[Role, Spending],
    telemetry: TelemetryResource,
    noted: Mapping[str, Any],
) -> dg.MaterializeResult[None]:
    """Return the result of sessions that this run of Dagster has finished.

    Args:
        context: of the step.
        project: whose baseline it is.
        paths: its files.
        plan: of the sessions.
        summary: of the run.
        spending: by role.
        telemetry: where sessions are stored.
        noted: what was noted when the run was planned; empty if it is not known.
    """
    return file_result(
        project,
        paths.sessions,
        {
            "agent": plan.agent,
            **_counts(summary),
            **transcripts_link(paths),
            "done_before": summary.resumed,
            "sandboxes_discarded": summary.sandboxes_discarded,
            "seconds": round(summary.seconds, 3),
            **spending_metadata(paths.ledger, spending),
            **_repeated(paths),
            **estimate_metadata(estimate_of(noted)),
            **_stored(context, telemetry, plan, paths, project),
            **{name: value for name, value in noted.items() if name.startswith("sandbox")},
            "budget_usd": plan.budget_usd,
            "budget_tokens": plan.budget_tokens,
        },
    )


def estimate_of(noted: Mapping[str, Any]) -> CostEstimate | None:
    """Return the cost that was estimated when a run was planned; None if nothing was to be paid."""
    found = noted.get("estimate")
    return None if found is None else CostEstimate.model_validate(found)


def kept_result(
    context: dg.OpExecutionContext, project: Project, paths: BaselinePaths
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


def tell_playbook(context: dg.OpExecutionContext, paths: BaselinePaths) -> None:
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


def _stored(
    context: dg.OpExecutionContext,
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
