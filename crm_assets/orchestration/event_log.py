"""Reads the records of a baseline in Dagster's storage and in the telemetry database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from crm_assets.audit.models import DagsterRecords, DagsterRun, Materialized
from crm_assets.errors import InfrastructureError, first_line
from crm_assets.workspace.identity import known_project_id
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["read_dagster", "read_telemetry"]

_PARTITION_TAG = "dagster/partition"
_CODE_VERSION_TAG = "dagster/code_version"
_MOST_RUNS = 200


def read_dagster(project: Project, key: BaselineKey) -> DagsterRecords:
    """Return the runs of a baseline, and the last materialization of each of its assets.

    Raises:
        ConfigError: the project has no Dagster instance.
        InfrastructureError: its storage does not answer.
    """
    import dagster as dg  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from crm_assets.defs.assets import LINEAGE  # noqa: PLC0415
    from crm_assets.orchestration.materialize import open_instance  # noqa: PLC0415

    own = known_project_id(project)
    try:
        with open_instance(project) as instance:
            made = [
                found for asset in LINEAGE if (found := _last(instance, asset.key, key, own)) is not None
            ]
            published = list(_published(instance, LINEAGE[-1].key, key, own))
            runs = _runs(instance, dg.RunsFilter(tags={_PARTITION_TAG: str(key)}), own)
            known = {run.run_id for run in runs}
            others = [each.run_id for each in made if each.run_id and each.run_id not in known]
            if others:  # a run over several partitions has no tag that names this one
                runs += _runs(instance, dg.RunsFilter(run_ids=others), own)
    except SQLAlchemyError as error:
        raise InfrastructureError(
            f"Dagster's storage does not answer ({first_line(error)}); run `crm-assets doctor`."
        ) from error
    runs.sort(key=lambda run: run.started or "")
    return DagsterRecords(runs=tuple(runs), materializations=tuple(made), published=tuple(published))


def _runs(instance: dg.DagsterInstance, wanted: dg.RunsFilter, project: str | None) -> list[DagsterRun]:
    from crm_assets.defs.records import is_of_project  # noqa: PLC0415

    return [
        DagsterRun(
            run_id=record.dagster_run.run_id,
            job=record.dagster_run.job_name,
            status=record.dagster_run.status.value,
            started=_moment(record.start_time),
            ended=_moment(record.end_time),
        )
        for record in instance.get_run_records(filters=wanted, limit=_MOST_RUNS)
        if is_of_project(record.dagster_run, project)
    ]


def _last(
    instance: dg.DagsterInstance, asset: dg.AssetKey, key: BaselineKey, project: str | None
) -> Materialized | None:
    from crm_assets.defs.records import materializations_of  # noqa: PLC0415

    for record in materializations_of(instance, asset, str(key), project):
        event = record.asset_materialization
        if event is None:
            continue
        path, sha256 = (_text(event.metadata.get(name)) for name in ("path", "sha256"))
        return Materialized(
            asset=asset.to_user_string(),
            run_id=record.run_id or None,
            at=_moment(record.timestamp) or "",
            file=PurePath(path).name if path else None,
            sha256=sha256,
            code_version=(event.tags or {}).get(_CODE_VERSION_TAG),
        )
    return None


def _published(
    instance: dg.DagsterInstance, asset: dg.AssetKey, key: BaselineKey, project: str | None
) -> Iterator[dict[str, str]]:
    """Yield the hashes of a baseline's files, each time that it was published, newest first."""
    from crm_assets.defs.records import FILES, materializations_of  # noqa: PLC0415

    for record in materializations_of(instance, asset, str(key), project):
        event = record.asset_materialization
        files = getattr(event.metadata.get(FILES), "value", None) if event else None
        if isinstance(files, dict):
            yield files


def _text(value: Any) -> str | None:
    found = getattr(value, "value", None)
    return found if isinstance(found, str) else None


def _moment(timestamp: float | None) -> str | None:
    if timestamp is None:
        return None
    return datetime.fromtimestamp(timestamp, timezone.utc).isoformat(timespec="milliseconds")


def read_telemetry(project: Project, run_id: str, config: Path | None) -> dict[str, int]:
    """Return the IDs of a run's sessions in the telemetry database, by session key.

    Args:
        project: whose database it is.
        run_id: of the run.
        config: its configuration, which may name a database of its own.

    Raises:
        ConfigError: an address is not valid, or the configuration cannot be used.
        InfrastructureError: the database does not answer.
    """
    from crm_assets.atlas.config_file import load_config  # noqa: PLC0415
    from crm_assets.database import read_environment  # noqa: PLC0415
    from crm_assets.defs.resources import PostgresResource, TelemetryResource  # noqa: PLC0415

    environment, configured = read_environment(project), None
    if config is not None and config.is_file() and "STORAGE__DATABASE_URL" not in environment:
        configured = load_config(config, environment=environment).config.storage.database_url
    telemetry = TelemetryResource(postgres=PostgresResource.of(project))
    return {row.session_key: row.id for row in telemetry.rows(run_id, configured)}
