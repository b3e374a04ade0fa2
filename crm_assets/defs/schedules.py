"""The schedule of Dagster's daemon: a baseline each night of what changed."""

# No postponed annotations here: Dagster reads the resources off the functions as they stand.

from typing import Any

import dagster as dg

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import load_run
from crm_assets.atlas.saved_plan import begun_plan
from crm_assets.conversations.revision import read_revision_file
from crm_assets.defs.assets import atlas_sessions
from crm_assets.defs.assets.tasks import TasksConfig
from crm_assets.defs.jobs import baseline
from crm_assets.defs.partitions import register
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.errors import CrmAssetsError
from crm_assets.harness import MODEL_CODE, SCORING_CODE, code_fingerprint
from crm_assets.records import RunHeader, SessionLog
from crm_assets.reporting.estimate.run import estimate_run
from crm_assets.workspace.baseline_files import BaselinePaths, claim_run, sidecar_of
from crm_assets.workspace.datasets import available_datasets, require_dataset
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.run_names import in_order

__all__ = ["SCHEDULES", "nightly_baselines"]

_LABEL = "nightly"


@dg.schedule(
    job=baseline,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Each night, for every dataset with a finished baseline: a new one with the options of the "
    "newest (its budget, too), if the dataset, the configuration or the code that decides results changed "
    "since. A run that was stopped goes on the next night. Baselines of a part of a dataset, imports and "
    "replays are not repeated.",
)
def nightly_baselines(
    context: dg.ScheduleEvaluationContext, artifacts: ArtifactsResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a baseline of each dataset where something changed since its newest one."""
    requests, skipped = [], []
    for dataset in available_datasets(artifacts.project):
        try:
            request = _request(context, artifacts.project, dataset)
        except CrmAssetsError as error:  # of one dataset; the others have their baselines
            context.log.warning(f"{dataset}: {error}")
            skipped.append(f"{dataset}: {error}")
            continue
        if isinstance(request, str):
            skipped.append(f"{dataset}: {request}")
        else:
            requests.append(request)
    return requests or dg.SkipReason("; ".join(skipped) or "There is no dataset.")


def _request(context: dg.ScheduleEvaluationContext, project: Project, dataset: str) -> dg.RunRequest | str:
    """Return the run to launch for `dataset`, or the reason to launch none."""
    found = _newest(project, dataset)
    if found is None:
        return "no finished baseline whose options could be repeated"
    paths, plan, header = found
    reasons = _changes(project, dataset, plan, header)
    if not reasons:
        return f"nothing changed since {paths.key.run}"
    limit = _limit(paths)
    estimate = estimate_run(project, dataset, plan, limit=limit)
    if estimate is not None and estimate.needs_consent:
        raise estimate.refusal()
    now = RunKey.now(_LABEL)
    key = _stopped(project, paths, plan) or BaselineKey.of(dataset, claim_run(project, dataset, now))
    return dg.RunRequest(
        run_key=f"{dataset}:{now}",
        partition_key=register(context.instance, key),
        run_config=dg.RunConfig(ops=_ops(plan, limit)),
        tags={"crm_assets/nightly": ", ".join(reasons)},
    )


def _newest(project: Project, dataset: str) -> tuple[BaselinePaths, SessionPlan, RunHeader] | None:
    """Return the newest finished baseline that measured its results itself, its plan and its header."""
    for paths in reversed(in_order(project, dataset)):
        plan = begun_plan(paths) if paths.finished else None
        if plan is None or plan.replay is not None or plan.recorded is not None:
            continue
        header = SessionLog(paths.sessions).header
        if header.imported is None and header.subset is None:
            return paths, plan, header
    return None


def _stopped(project: Project, newest: BaselinePaths, plan: SessionPlan) -> BaselineKey | None:
    """Return the last night's run if it was stopped and can go on as it is; None for none."""
    dataset = newest.key.dataset
    for paths in reversed(in_order(project, dataset)):
        if paths.key == newest.key:
            return None
        sidecar = sidecar_of(paths.partial)
        if paths.key.run.label == _LABEL and paths.partial.is_file() and sidecar.is_file():
            header = RunHeader.model_validate_json(sidecar.read_bytes())
            same = begun_plan(paths) == plan and not _changes(project, dataset, plan, header)
            return paths.key if same else None
    return None


def _changes(project: Project, dataset: str, plan: SessionPlan, header: RunHeader) -> list[str]:
    """Return what differs now from when a baseline was made."""
    changed = {
        "dataset": header.dataset_revision != sha256_of_file(require_dataset(project, dataset)),
        "code": header.code != code_fingerprint(MODEL_CODE if plan.asks_models else SCORING_CODE),
        "configuration": plan.asks_models
        and header.settings != load_run(plan, project, dataset).config.settings,
    }
    return [name for name, differs in changed.items() if differs]


def _limit(paths: BaselinePaths) -> int | None:
    """Return how many conversations a baseline was limited to; None for all of its dataset."""
    with paths.tasks.open("rb") as handle:
        tasks = sum(1 for _ in handle)
    return tasks if tasks < read_revision_file(paths.revision).conversations else None


def _ops(plan: SessionPlan, limit: int | None) -> dict[str, Any]:
    """Return the options of a baseline as configurations of the ops."""
    return {
        "atlas_tasks": TasksConfig.of(plan, limit=limit),
        atlas_sessions.node_def.name: SessionsConfig.of(plan),
    }


SCHEDULES = [nightly_baselines]
