"""The data of a baseline: its exact content, and an audit."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from collections.abc import Mapping
from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.saved_plan import save_plan
from crm_assets.conversations import AuditReport, DatasetRevision, check_dataset, read_revision
from crm_assets.conversations.revision import read_revision_file
from crm_assets.crm import tool_names
from crm_assets.defs.assets.conversations import conversations, is_observed, observation
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.partitions import BASELINE_PARTITIONS, require_planned
from crm_assets.defs.resources import ArtifactsResource, PostgresResource
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.defs.stages import (
    GROUP,
    OWNERS,
    StageConfig,
    file_result,
    leased,
    tags,
)
from crm_assets.errors import InputError
from crm_assets.harness import audit_dataset
from crm_assets.reporting.estimate.run import estimate_run
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.files import write_json
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import prepare

__all__ = ["AUDIT_FACTS", "dataset_revision"]

AUDIT_FACTS = (
    "unfillable_placeholders",
    "unreproducible_replies",
    "duplicate_ids",
    "copies",
    "misspelled_keys",
    "unread_seeds",
    "ignored_seed_fields",
    "seeds_created_later",
    "ground_truth_failures",
)
"""Kinds of findings of the audit, each a number in the metadata."""


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("data"),
    partitions_def=BASELINE_PARTITIONS,
    deps=[conversations],
    code_version="2",
    kinds={"json", "postgres"},
)
def dataset_revision(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
) -> dg.MaterializeResult[None]:
    """The exact data of this baseline: content hash, commit, and an audit of what it holds.

    `revision.json`. A malformed dataset ends the run here, with everything that is wrong with it. Read by
    `atlas_tasks`, by the checks that compare later stages with it, and by everyone who asks on which data a
    score was made. Its data version is the dataset's hash: stale means that the file has changed since.
    """
    with leased(context, artifacts) as paths:
        key, project = paths.key, artifacts.project
        source = require_dataset(project, key.dataset)
        require_planned(context.run, project, key)
        paths.protect(overwrite=config.overwrite)  # before the work, not after it
        check_dataset(source, known_tools=tool_names())
        _refuse_cost(context, project, paths, overwrite=config.overwrite)  # before anything is moved aside
        revision = read_revision(source, key.dataset)
        report = audit_dataset(source, databases=postgres.databases())
        if prepare(paths, paths.revision, overwrite=config.overwrite):
            _save_choice(context, project, paths)
            write_json(paths.revision, revision.model_dump(mode="json"))
        else:
            revision = _unchanged(paths, revision)
    _observe(context, key.dataset, revision.sha256)
    tell(context, f"{counted(revision.conversations, 'conversation')}, sha256 {revision.sha256[:12]}")
    return file_result(project, paths.revision, _metadata(revision, report), version=revision.sha256)


def _refuse_cost(
    context: dg.AssetExecutionContext, project: Project, paths: BaselinePaths, *, overwrite: bool
) -> None:
    """Refuse a run whose sessions would be refused for their cost; of a part of a dataset, only they know.

    Raises:
        InputError: it may cost more than the configuration's limit, with no budget, and nobody accepted it.
    """
    run_config: Mapping[str, Any] = context.run.run_config
    ops = run_config.get("ops") or {}
    tasks = ops.get("atlas_tasks", {}).get("config", {})
    sessions = SessionsConfig(**ops.get("atlas_sessions", {}).get("config", {}))
    are_run = dg.AssetKey("atlas_sessions") in context.job_def.asset_layer.selected_asset_keys
    if not are_run or sessions.accept_cost or sessions.as_planned or tasks.get("part", "all") != "all":
        return
    if paths.has_sessions and not overwrite:
        return  # they are kept
    files = None if overwrite else paths
    limit = tasks.get("limit")
    estimate = estimate_run(project, paths.key.dataset, sessions.plan(), files=files, limit=limit)
    if estimate is not None and estimate.needs_consent:
        raise estimate.refusal()


def _save_choice(context: dg.AssetExecutionContext, project: Project, paths: BaselinePaths) -> None:
    """Keep the options of the stages to come: a run that is killed from here on goes on with them."""
    run_config: Mapping[str, Any] = context.run.run_config
    ops = run_config.get("ops") or {}
    sessions = SessionsConfig(**ops.get("atlas_sessions", {}).get("config", {}))
    limit = ops.get("atlas_tasks", {}).get("config", {}).get("limit")
    if (plan := sessions.plan()) != SessionPlan() or limit is not None:
        save_plan(project, paths, plan, limit=limit)


def _unchanged(paths: BaselinePaths, now: DatasetRevision) -> DatasetRevision:
    """Return the revision that the sessions so far are of, if it is the current one.

    Raises:
        InputError: the dataset has changed since.
    """
    then = read_revision_file(paths.revision)
    if then.sha256 != now.sha256:
        raise InputError(
            f"Dataset {now.dataset} has changed since run {paths.key.run} began (SHA-256 "
            f"{then.sha256[:12]}…, now {now.sha256[:12]}…): put the old content back, or start a new run."
        )
    return then


def _observe(context: dg.AssetExecutionContext, dataset: str, sha256: str) -> None:
    """Record which content was read, unless that is known; else Dagster could never call it changed."""
    if is_observed(context.instance, dataset, sha256):
        return
    context.instance.report_runless_asset_event(observation(dataset, sha256))
    # Inputs were looked up when the step began: what it read was recorded only now.
    context.get_step_execution_context().fetch_external_input_asset_version_info()


def _metadata(revision: DatasetRevision, report: AuditReport) -> dict[str, Any]:
    """Return the facts to know before trusting a score on this dataset."""
    facts = {name: getattr(report, name) for name in AUDIT_FACTS}
    return {
        "dataset_sha256": revision.sha256,
        "git_commit": revision.git_commit or "none",
        "git_dirty": str(revision.git_dirty),
        "conversations": report.conversations,
        "turns": report.turns,
        "chains": report.chains,
        "expected_failures": report.expected_failures,
        "expected_responses": report.expected_responses,
        "by_workflow": dg.MetadataValue.json(report.by_workflow),
        "by_complexity": dg.MetadataValue.json(report.by_complexity),
        "by_tool": dg.MetadataValue.json(report.by_tool),
        **{name: fact.total for name, fact in facts.items()},
        "examples": dg.MetadataValue.json(
            {name: fact.examples for name, fact in facts.items() if fact.examples}
        ),
        "ground_truth_replayed": report.replayed,
    }
