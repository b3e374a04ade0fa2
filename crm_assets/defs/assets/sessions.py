"""The sessions of a baseline: planned into shards, which any process may run, and merged.

One shard, run where the run of Dagster is, is the default; it works on the run's own files.
"""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import open_run
from crm_assets.atlas.saved_plan import limit_to_go_on_with, save_plan, saved_plan
from crm_assets.atlas.sweep_budget import planned
from crm_assets.atlas.task_run import BudgetPart, Taking, TaskRun
from crm_assets.database import Databases, ShardClaim, ShardRow, ShardTable
from crm_assets.defs.assets.playbook import playbook
from crm_assets.defs.assets.progress import session_progress, tell, whole_progress
from crm_assets.defs.assets.sessions_metadata import (
    estimate_of,
    finished_result,
    kept_result,
    tell_playbook,
)
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
from crm_assets.defs.stages import GROUP, OWNERS, leased, require, tags
from crm_assets.engine import WHOLE, OnProgress, Progress, RunSummary, Shard
from crm_assets.errors import InfrastructureError
from crm_assets.reporting.estimate.run import estimate_run
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import prepare

__all__ = ["POOL", "SessionsConfig", "atlas_sessions"]

POOL = "language_models"
"""Dagster's pool of the runs that ask models: they share the providers' limits."""

_PAUSE_SECONDS = 15.0
_MOST_PASSES = 1_000_000


@dg.op(
    ins={"tasks": dg.In(dg.Nothing), "playbook": dg.In(dg.Nothing)},
    out=dg.DynamicOut(dg.Nothing),
)
def plan(
    context: dg.OpExecutionContext,
    config: SessionsConfig,
    *,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
    sandbox: SandboxResource,
) -> Iterator[dg.DynamicOutput[None]]:
    """Begin or go on with the run, and divide what is left of it into shards."""

    def say(words: str) -> None:
        tell(context, words)

    step = f"plan of {context.run.run_id}"
    with (
        leased(context, artifacts, last=False) as paths,
        closing(ShardTable(artifacts.project, paths.folder)) as table,
        table.claim(step, on_wait=say) as claim,
    ):
        if claim is None:  # this step was delivered twice
            shards = table.status_of(step)["shards"]
        elif (begun := _begin(context, config, artifacts.project, paths, postgres.databases())) is not None:
            with _resumed_later(context, config.retries):
                reset = sandbox.reset()
                say(_described(reset))
                table.begin(claim, on_wait=say)
                run = _open(config, artifacts, postgres, paths, begun)
                shards = [shard.name for shard in run.plan(config.shards)]
                noted = {
                    **begun,
                    "sandboxes_reset": reset.sandboxes,
                    "sandboxes_remade": reset.remade,
                    "sandbox_fingerprint": reset.fingerprint,
                }
                if run.division is not None:
                    noted |= {"began": time.time(), **vars(run.division)}
                    say(f"{counted(run.division.left, 'session')} in {counted(len(shards), 'shard')}")
                table.note(noted)
            claim.stop.raise_if_asked()
            claim.status, claim.finished = {"shards": shards}, True
        else:
            shards = []
    for shard in shards:
        yield dg.DynamicOutput(None, mapping_key=shard)


@dg.op(ins={"shard": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing), pool=POOL)
def run_shard(
    context: dg.OpExecutionContext,
    config: SessionsConfig,
    *,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
) -> None:
    """Run the sessions of one shard, or go on with them."""
    shard = Shard.parse(str(context.get_mapping_key()))

    def say(words: str) -> None:
        tell(context, words if shard.of == 1 else f"{shard.name}: {words}")

    with (
        leased(context, artifacts, last=False, shared=shard.of > 1) as paths,
        closing(ShardTable(artifacts.project, paths.folder)) as table,
        table.claim(shard.name, on_wait=say) as claim,
    ):
        if claim is None:
            say("was finished elsewhere meanwhile")
            return
        passes = int(claim.status.get("passes", 0))
        with _resumed_later(context, config.retries + passes):
            noted = table.noted()
            run = _open(config, artifacts, postgres, paths, noted)
            part = noted.get("budgets", {}).get(shard.name)
            summary = run.take(
                shard,
                Taking(
                    seconds=config.seconds_of(shard),
                    progress=_shard_progress(context, claim, shard),
                    stop=claim.stop,
                    budget=None if part is None else BudgetPart(*part),
                    claim=lambda keys: claim.claim_sessions(keys, on_wait=say),
                ),
            )
        claim.status |= {"summary": vars(summary), "passes": passes + bool(summary.left)}
        claim.finished = not summary.left
    if summary.left:
        say(f"the time is over, {counted(summary.left, 'session')} left for its next pass")
        raise dg.RetryRequested(max_retries=_MOST_PASSES)


@dg.op(ins={"shards": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing, code_version="3"))
def merge(
    context: dg.OpExecutionContext,
    config: SessionsConfig,
    *,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
    telemetry: TelemetryResource,
) -> Iterator[dg.Output[None]]:
    """Merge the shards, and finish the run: each session once."""
    with (
        leased(context, artifacts) as paths,
        closing(ShardTable(artifacts.project, paths.folder)) as table,
        table.claim("merge", on_wait=lambda words: tell(context, words)),
    ):
        if paths.has_sessions:
            table.forget()
            yield _output(kept_result(context, artifacts.project, paths))
            return
        options = _options(config, paths)
        noted = table.noted()
        with _resumed_later(context, config.retries):
            rows = table.rows()
            run = _open(config, artifacts, postgres, paths, noted)
            summary, spending = run.merge(_whole_summary(rows))
        if not paths.plan.exists():
            save_plan(artifacts.project, paths, options)
        tell_playbook(context, paths)
        _add_up(summary, rows, noted)
        tell(context, f"{counted(summary.total, 'session')} in {summary.seconds:.1f} s")
        result = finished_result(
            context,
            artifacts.project,
            paths,
            plan=options,
            summary=summary,
            spending=spending,
            telemetry=telemetry,
            noted=noted,
        )
        table.forget()
    yield _output(result)


@dg.config_mapping
def _for_all_steps(config: SessionsConfig) -> dict[str, Any]:
    """Give each step the options of the asset, which the launchpad shows as one list."""
    options = {"config": config.model_dump(mode="json", exclude_none=True)}
    return {step.name: options for step in (plan, run_shard, merge)}


@dg.graph_asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("sessions"),
    partitions_def=BASELINE_PARTITIONS,
    ins={"tasks": dg.AssetIn(atlas_tasks.key), "playbook": dg.AssetIn(playbook.key)},
    config=_for_all_steps,
    kinds={"jsonl", "postgres", "litellm"},
    code_version="3",
)
def atlas_sessions(tasks: Any, playbook: Any) -> Any:
    """A session for each task, run on the CRM sandbox and verified turn by turn: `sessions.jsonl`.

    With the agent `atlas` a student works, a teacher validates, judges reward and a learner learns; the
    telemetry database keeps all of it. The file appears when all sessions are done; a stopped run resumes.
    Its sessions may be divided among several processes (`shards`). Read by `baseline_metrics` and by
    `crm-assets show`.
    """
    shards = plan(tasks=tasks, playbook=playbook)
    return merge(shards=shards.map(lambda shard: run_shard(shard=shard)).collect())


def _begin(
    context: dg.OpExecutionContext,
    config: SessionsConfig,
    project: Project,
    paths: BaselinePaths,
    databases: Databases,
) -> dict[str, Any] | None:
    """Prepare the run's files, and return what to note of it; None if its sessions are done and are kept.

    Raises:
        InputError: the sessions are protected, or of another run; or they may cost more than the
            configuration's limit, with no budget, and nobody accepted it.
    """
    if config.as_planned:
        paths.protect(overwrite=config.overwrite or config.resume)
        options = planned(project, paths).sessions
    else:
        options = config.plan()
    require(paths.tasks, atlas_tasks.key.to_user_string())
    again = context.retry_number > 0 or (context.run.parent_run_id is not None and not paths.finished)
    overwrite = config.overwrite and not again
    noted = _estimated(context, project, paths, config, options, overwrite=overwrite)
    if config.resume and paths.has_sessions and not again:
        open_run(
            paths, options, project=project, databases=databases, dataset=paths.key.dataset
        ).require_resumable()
        paths.reopen()
    # What an earlier attempt has finished is resumed, whether of this run or of the one it retries.
    if not prepare(paths, paths.sessions, overwrite=overwrite):
        return None
    if not paths.begun:
        save_plan(project, paths, options, limit=limit_to_go_on_with(paths, None))
    return noted


def _estimated(
    context: dg.OpExecutionContext,
    project: Project,
    paths: BaselinePaths,
    config: SessionsConfig,
    plan: SessionPlan,
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Tell what the sessions to run will cost, and return it; nothing if nothing is to be paid.

    Raises:
        InputError: it may be more than the configuration's limit, with no budget, and nobody accepted it.
    """
    if paths.has_sessions and not (overwrite or config.resume):
        return {}  # they are kept
    files = None if overwrite else paths
    estimate = estimate_run(project, paths.key.dataset, plan, files=files, tasks=paths.tasks)
    if estimate is None:
        return {}
    context.log.info(estimate.summary)
    context.instance.add_run_tags(context.run.run_id, {"crm_assets/estimate": estimate.amount})
    if estimate.needs_consent and not config.accept_cost:
        raise estimate.refusal()
    return {"estimate": estimate.cost.model_dump(mode="json")}


def _options(config: SessionsConfig, paths: BaselinePaths) -> SessionPlan:
    """Return the options of a run that has been planned."""
    saved = saved_plan(paths) if config.as_planned else None
    return config.plan() if saved is None else saved.sessions


def _open(
    config: SessionsConfig,
    artifacts: ArtifactsResource,
    postgres: PostgresResource,
    paths: BaselinePaths,
    noted: Mapping[str, Any],
) -> TaskRun:
    return open_run(
        paths,
        _options(config, paths),
        project=artifacts.project,
        databases=postgres.databases(),
        dataset=paths.key.dataset,
        estimate=estimate_of(noted),
    )


@contextmanager
def _resumed_later(context: dg.OpExecutionContext, retries: int) -> Iterator[None]:
    """Have the step retried after a pause where the infrastructure failed, up to `retries` times."""
    try:
        yield
    except InfrastructureError as error:
        if context.retry_number >= retries:
            raise
        context.log.warning(f"{error} Resuming in {_PAUSE_SECONDS:g} s; finished sessions are kept.")
        raise dg.RetryRequested(retries, seconds_to_wait=_PAUSE_SECONDS) from error


def _shard_progress(context: dg.OpExecutionContext, claim: ShardClaim, shard: Shard) -> OnProgress:
    """Return a callback that reports a shard's progress under its step, and tells it to the siblings."""
    report = session_progress(context)
    whole = None if shard.of == 1 else whole_progress(context, claim)

    def tell_all(progress: Progress) -> None:
        claim.status |= {
            "done": progress.done,
            "total": progress.total,
            "succeeded": progress.succeeded,
            "infrastructure_errors": progress.infrastructure_errors,
        }
        report(progress)
        if whole is not None:
            whole()

    return tell_all


def _whole_summary(rows: list[ShardRow]) -> RunSummary | None:
    """Return the summary of a run that was not divided; None if it was, or if it is not known."""
    found = next((row.status.get("summary") for row in rows if row.shard == WHOLE.name), None)
    return None if found is None else RunSummary(**found)


def _add_up(summary: RunSummary, rows: list[ShardRow], noted: Mapping[str, Any]) -> None:
    """Add what the shards of a divided run tell to its summary."""
    if "began" not in noted:
        return
    summary.resumed = noted["done_before"]
    summary.seconds = time.time() - noted["began"]
    summary.sandboxes_discarded = sum(
        row.status.get("summary", {}).get("sandboxes_discarded", 0) for row in rows
    )


def _output(result: dg.MaterializeResult[None]) -> dg.Output[None]:
    """Return a result as the output of a step that is a part of its asset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # data versions, in this (pinned) Dagster
        return dg.Output(None, metadata=result.metadata, data_version=result.data_version)


def _described(reset: SandboxReset) -> str:
    remade = f", {reset.remade} of them recreated" if reset.remade else ""
    return f"{counted(reset.sandboxes, 'sandbox', 'sandboxes')} reset{remade}"
