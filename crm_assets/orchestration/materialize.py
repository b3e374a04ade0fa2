"""Runs the lineage through Dagster from the command line: in this process, on the project's instance."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError
from dagster_shared.check import CheckError
from sqlalchemy.exc import DBAPIError

from crm_assets.atlas.plan import SessionPlan
from crm_assets.conversations.split import Subset
from crm_assets.database import a_command, hold
from crm_assets.definitions import defs
from crm_assets.defs.assets import LINEAGE, atlas_sessions, baseline_metrics
from crm_assets.defs.assets.progress import PROGRESS_LOGGER
from crm_assets.defs.assets.tasks import TasksConfig
from crm_assets.defs.jobs import BASELINE_JOB, HISTORY_JOB
from crm_assets.defs.partitions import register, register_dataset
from crm_assets.defs.records import PROJECT
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.defs.stages import StageConfig
from crm_assets.errors import ConfigError, CrmAssetsError, InfrastructureError, first_line, last_line
from crm_assets.orchestration.job_origin import JOB_TAGS, put_under_job
from crm_assets.orchestration.launcher import PROCESS_TAG, this_process
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import status_of

__all__ = [
    "STAGES",
    "CheckFailed",
    "LineageOptions",
    "LineageRun",
    "materialize",
    "materialize_on",
    "open_instance",
    "refresh_history",
]

STAGES = tuple(asset.key.to_user_string() for asset in LINEAGE)
"""The stages of the lineage, in order."""

_SESSIONS = atlas_sessions.key.to_user_string()

_STATEMENT_TIMEOUT_MS = 60_000
_RECYCLE_SECONDS = 3600
_MAX_CONNECTIONS = 10
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


class CheckFailed(CrmAssetsError):
    """A blocking asset check stopped the run."""


@dataclass(frozen=True)
class LineageOptions:
    """The options of one run of the lineage."""

    plan: SessionPlan = field(default_factory=SessionPlan)
    limit: int | None = None
    subset: Subset | None = None
    """The part of the dataset to run; its split has the limit."""
    overwrite: bool = False
    resume: bool = False
    """Run again the sessions of a finished baseline that have no verdict."""
    retries: int = 0
    """Times to resume after an infrastructure error; on the command line the error is shown at once."""

    as_planned: bool = False
    """Take plan and limit from each run's plan.json."""
    accept_cost: bool = False
    """Run without a budget, even if it may cost more than the configuration's `confirm_above_usd`."""

    def ops(self, stages: Sequence[str]) -> dict[str, StageConfig]:
        """Return these options as the configurations of the ops of `stages`."""
        sessions = SessionsConfig.of(
            self.plan,
            overwrite=self.overwrite,
            resume=self.resume,
            retries=self.retries,
            as_planned=self.as_planned,
            accept_cost=self.accept_cost,
        )
        tasks = TasksConfig.of(self.plan, self.subset, limit=self.limit, overwrite=self.overwrite)
        configs: dict[str, StageConfig] = {
            "dataset_revision": StageConfig(overwrite=self.overwrite),
            "atlas_tasks": tasks.model_copy(update={"as_planned": self.as_planned}),
            atlas_sessions.node_def.name: sessions,
        }
        return {name: config for name, config in configs.items() if name in stages}


class LineageRun(NamedTuple):
    """A run that succeeded."""

    run_id: str
    paths: BaselinePaths


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Open the project's Dagster instance, which the UI shows.

    Raises:
        ConfigError: the project has no `dagster.yaml`, or it names a module that is not there.
        InfrastructureError: the database of its storage does not answer, or went away within the block.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or project.dagster_home)
    if not (home / "dagster.yaml").is_file():
        raise ConfigError(
            f"{home} has no dagster.yaml: work in the project's folder, or correct DAGSTER_HOME."
        )
    try:
        opened = dg.DagsterInstance.from_config(str(home))
    except CheckError as error:  # what Dagster raises where it cannot import what the file names
        raise ConfigError(
            f"{home / 'dagster.yaml'} cannot be used ({first_line(error)}): take storage and run_launcher "
            "from this version's dagster_home/dagster.yaml."
        ) from error
    with opened as instance:
        # Otherwise Dagster opens a connection for every statement.
        instance.optimize_for_webserver(
            statement_timeout=_STATEMENT_TIMEOUT_MS,
            pool_recycle=_RECYCLE_SECONDS,
            max_overflow=_MAX_CONNECTIONS,
        )
        try:
            yield instance
        except Exception as error:  # Dagster wraps them in its own; others are raised again as they are
            if (reason := _storage_failure(error)) is None:
                raise
            raise InfrastructureError(
                f"Dagster's storage went away ({reason}); what is finished is kept: start its server, and "
                "give the command again with --run and the baseline's key."
            ) from error


def _storage_failure(error: BaseException | None) -> str | None:
    """Return why Dagster's storage failed, if that is behind an error; else None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, CrmAssetsError):
            return None
        if isinstance(error, DBAPIError):
            return last_line(error.orig)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def materialize(
    project: Project,
    key: BaselineKey,
    options: LineageOptions,
    *,
    stages: Sequence[str] | None = None,
    job: str = BASELINE_JOB,
) -> LineageRun:
    """Materialize `stages` (when None, what is missing) of baseline `key`, for the UI to show.

    The history of its dataset follows.

    Raises:
        CrmAssetsError: an expected failure of a stage, or a check that did not pass.
        KeyboardInterrupt: Ctrl-C.
    """
    with open_instance(project) as instance:
        done = materialize_on(instance, project, key, options, stages=stages, job=job)
        if stages is None or baseline_metrics.key.to_user_string() in stages:
            refresh_history(instance, key.dataset)
        return done


def materialize_on(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    options: LineageOptions,
    *,
    stages: Sequence[str] | None = None,
    job: str = BASELINE_JOB,
) -> LineageRun:
    """Materialize `stages` (when None, what is missing) of baseline `key` on an open instance.

    It is done under the baseline's lease: the caller's, or one of its own.

    Raises:
        InUse: somebody else works on the baseline.
        CrmAssetsError: an expected failure of a stage, or a check that did not pass.
        KeyboardInterrupt: Ctrl-C.
    """
    paths = BaselinePaths.of(project, key)
    with hold(project, paths.folder, a_command()):
        if stages is None:
            stages = _missing(paths, options)
        selected = [name for name in STAGES if stages is None or name in stages]
        run_id = _execute(
            instance,
            job,
            partition=register(instance, key),
            assets=None if stages is None else selected,
            ops=options.ops(selected),
            tags={PROJECT: project_id(project)},
        )
        _tell_warnings(instance, run_id)
    return LineageRun(run_id, paths)


def _missing(paths: BaselinePaths, options: LineageOptions) -> Sequence[str] | None:
    """Return the stages from the first that is missing on; None for all of the lineage."""
    if options.overwrite:
        return None
    first = status_of(paths).next_stage
    if options.resume and paths.has_sessions:
        first = _SESSIONS
    return None if first in (None, STAGES[0]) else STAGES[STAGES.index(first) :]


def refresh_history(instance: dg.DagsterInstance, dataset: str) -> str:
    """Materialize the history of `dataset`; returns the run's ID.

    Raises:
        CrmAssetsError: an expected failure.
        KeyboardInterrupt: Ctrl-C.
    """
    register_dataset(instance, dataset)
    return _execute(instance, HISTORY_JOB, partition=dataset, assets=None, ops={}, tags={})


def _job(name: str, assets: Sequence[str] | None) -> dg.JobDefinition:
    """Return a job, or the part of it that makes `assets`, with those of its own checks that are theirs."""
    job = defs.resolve_job_def(name)
    if assets is None:
        return job
    keys = {dg.AssetKey(asset) for asset in assets}
    checks = job.asset_layer.asset_graph.asset_check_keys
    return job.get_subset(
        asset_selection=keys, asset_check_selection={one for one in checks if one.asset_key in keys}
    )


def _execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    partition: str,
    assets: Sequence[str] | None,
    ops: dict[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Run a job (some assets of it, or all for None) in this process; returns the run's ID."""
    run_id = str(uuid.uuid4())
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            # About Dagster's own APIs, whose version is pinned: users need not see them.
            warnings.simplefilter("ignore", category)
        try:
            _job(job, assets).execute_in_process(
                instance=instance,
                partition_key=partition,
                run_config=dg.RunConfig(ops=ops, loggers=_QUIET),
                run_id=run_id,
                tags={**JOB_TAGS, PROCESS_TAG: this_process(), **tags},
            )
        except dg.Failure as failure:
            if isinstance(failure.__cause__, CrmAssetsError):
                raise failure.__cause__ from None
            raise
        except DagsterAssetCheckFailedError:
            failed = _failed_checks(instance, run_id, dg.AssetCheckSeverity.ERROR)
            raise CheckFailed(f"The run was stopped by {' '.join(failed)}") from None
        except DagsterExecutionInterruptedError as interrupt:
            raise KeyboardInterrupt from interrupt
    put_under_job(instance, run_id, job)
    return run_id


def _tell_warnings(instance: dg.DagsterInstance, run_id: str) -> None:
    """Log the warnings of the checks where progress is shown."""
    logger = logging.getLogger(PROGRESS_LOGGER)
    for warning in _failed_checks(instance, run_id, dg.AssetCheckSeverity.WARN):
        logger.warning("warning: %s", warning)


def _failed_checks(instance: dg.DagsterInstance, run_id: str, severity: dg.AssetCheckSeverity) -> list[str]:
    evaluations = (
        record.dagster_event.asset_check_evaluation_data
        for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if record.dagster_event is not None
    )
    return [
        f"{item.check_name}: {item.description}"
        for item in evaluations
        if not item.passed and item.severity == severity
    ]
