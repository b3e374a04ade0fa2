"""Define the sensors of Dagster's daemon: datasets, finished baselines, failed runs."""

# No postponed annotations here: Dagster reads the resources off the functions as they stand.

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import orjson
from dagster._core.storage.tags import PARTITION_NAME_TAG

from crm_assets.database import read_environment
from crm_assets.defs.alerts import ALERT_VARIABLE, Alert, send_alert
from crm_assets.defs.assets import baseline_readme
from crm_assets.defs.assets.conversations import is_observed, observation
from crm_assets.defs.jobs import HISTORY_JOB, history
from crm_assets.defs.partitions import DATASET_PARTITIONS
from crm_assets.defs.records import is_own
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.errors import CrmAssetsError
from crm_assets.reporting.history import HistoryPaths, read_history
from crm_assets.workspace.datasets import available_datasets, require_dataset
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.identity import known_project_id
from crm_assets.workspace.keys import BaselineKey

__all__ = ["SENSORS", "datasets", "failed_runs", "finished_baselines"]

_INTERVAL_SECONDS = 30
_EVENTS_AT_A_TIME = 200


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Show an expected error of a tick as its sentence."""
    try:
        yield
    except CrmAssetsError as error:
        raise dg.Failure(description=str(error)) from error


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@dg.sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="New files in data/conversations become partitions of the dimension 'dataset', and changed "
    "content is observed, so that what was made from it is stale. Launches nothing.",
)
def datasets(context: dg.SensorEvaluationContext, artifacts: ArtifactsResource) -> dg.SensorResult:
    """Register and observe the datasets of the project."""
    with _one_sentence():
        project = artifacts.project
        seen: dict[str, list[int]] = orjson.loads(context.cursor) if context.cursor else {}
        known = set(context.instance.get_dynamic_partitions(DATASET_PARTITIONS.name or ""))
        present = available_datasets(project)
        new = [dataset for dataset in present if dataset not in known]
        stamps = {dataset: _stamp(require_dataset(project, dataset)) for dataset in present}
        observed = []
        for dataset, stamp in stamps.items():
            if seen.get(dataset) == stamp and dataset not in new:
                continue
            sha256 = sha256_of_file(project.dataset_file(dataset))
            if not is_observed(context.instance, dataset, sha256):
                observed.append(observation(dataset, sha256))
    found = f"{len(new)} new, {len(observed)} with new content" if new or observed else "No change."
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"{found} No run is launched for datasets."),
        cursor=orjson.dumps(stamps).decode(),
        dynamic_partitions_requests=[DATASET_PARTITIONS.build_add_request(new)] if new else [],
        asset_events=observed,
    )


@dg.sensor(
    job=history,
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="After a baseline is finished, however that came about, the history of its dataset "
    f"is made again (job '{HISTORY_JOB}': files are read, no model is asked).",
)
def finished_baselines(
    context: dg.SensorEvaluationContext, artifacts: ArtifactsResource
) -> dg.SensorResult | dg.SkipReason:
    """Request a run of the job `history` for each dataset whose history is out of date."""
    after = int(context.cursor) if context.cursor else None
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=baseline_readme.key, after_storage_id=after),
        limit=_EVENTS_AT_A_TIME,
        ascending=True,
    ).records
    if not records:
        return dg.SkipReason("No baseline was finished since.")
    last = records[-1].storage_id
    with _one_sentence():
        own = known_project_id(artifacts.project)
        keys = (
            BaselineKey.parse(str(record.partition_key))
            for record in records
            if record.partition_key and is_own(record, own)
        )
        wanted = sorted({key.dataset for key in keys} - _about_to_be_made(context.instance))
        behind = [dataset for dataset in wanted if not _up_to_date(artifacts, dataset)]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{dataset}:{last}", partition_key=dataset) for dataset in behind
        ],
        skip_reason=None if behind else dg.SkipReason("The histories have these baselines already."),
        cursor=str(last),
    )


def _about_to_be_made(instance: dg.DagsterInstance) -> set[str]:
    """Return the datasets whose history a queued run will make anyway."""
    waiting = instance.get_runs(
        dg.RunsFilter(
            job_name=HISTORY_JOB, statuses=[dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
        )
    )
    return {run.tags[PARTITION_NAME_TAG] for run in waiting if PARTITION_NAME_TAG in run.tags}


def _up_to_date(artifacts: ArtifactsResource, dataset: str) -> bool:
    """Return True if the history of `dataset` is up to date: the command line may have made it."""
    written = HistoryPaths.of(artifacts.project, dataset).document
    if not written.is_file():
        return False
    document = read_history(artifacts.project, dataset).model_dump(mode="json")
    return bool(orjson.loads(written.read_bytes()) == document)


@dg.run_failure_sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"A failed run is reported to {ALERT_VARIABLE}, if that is set (environment or .env): a "
    "POST of JSON whose 'text' is one sentence, as Slack and others take it.",
)
def failed_runs(context: dg.RunFailureSensorContext, artifacts: ArtifactsResource) -> dg.SkipReason | None:
    """Alert the webhook of a failed run; if that fails, the tick fails and the UI shows it."""
    environment = read_environment(artifacts.project)
    url = environment.get(ALERT_VARIABLE)
    if not url:
        return dg.SkipReason(f"{ALERT_VARIABLE} is not set: no alert is sent.")
    run = context.dagster_run
    with _one_sentence():
        send_alert(
            url,
            Alert(
                run_id=run.run_id,
                job=run.job_name,
                partition=run.tags.get("dagster/partition"),
                error=_reason(context),
            ),
            environment=environment,
        )
    return None


def _reason(context: dg.RunFailureSensorContext) -> str:
    """Return the error of the first failed step, else the run's own."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return data.user_failure_data.description
        if data.error is not None:
            return data.error.message.strip()
    return context.failure_event.message or "No reason is recorded."


SENSORS = [datasets, finished_baselines, failed_runs]
