"""Running the lineage through Dagster from the command line: in this process, on the real instance."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError

from crm_assets.artifacts import BaselinePaths
from crm_assets.assets import LINEAGE
from crm_assets.assets.common import StageConfig
from crm_assets.assets.sessions import SessionsConfig
from crm_assets.assets.tasks import TasksConfig
from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.errors import ConfigError, CrmAssetsError
from crm_assets.jobs import BASELINE_JOB
from crm_assets.keys import BaselineKey
from crm_assets.partitions import register
from crm_assets.project import Project

__all__ = ["CheckFailed", "LineageOptions", "LineageRun", "materialize", "open_instance"]

_STATEMENT_TIMEOUT_MS = 60_000
_RECYCLE_SECONDS = 3600
_MAX_CONNECTIONS = 10
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


class CheckFailed(CrmAssetsError):
    """A blocking asset check stopped the run."""


@dataclass(frozen=True)
class LineageOptions:
    """What a user may choose for one run of the lineage."""

    plan: SessionPlan = field(default_factory=SessionPlan)
    limit: int | None = None
    overwrite: bool = False
    resume: bool = False
    """Run again what has no verdict in a finished baseline."""

    def run_config(self, stages: Sequence[str]) -> dg.RunConfig:
        """These options for the ops of `stages`."""
        configs: dict[str, StageConfig] = {
            "dataset_revision": StageConfig(overwrite=self.overwrite),
            "atlas_tasks": TasksConfig(overwrite=self.overwrite, limit=self.limit),
            "atlas_sessions": SessionsConfig.of(self.plan, overwrite=self.overwrite, resume=self.resume),
        }
        return dg.RunConfig(
            ops={name: config for name, config in configs.items() if name in stages},
            loggers=_QUIET,
        )


class LineageRun(NamedTuple):
    """A run that went well."""

    run_id: str
    paths: BaselinePaths


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of the project: what the UI shows.

    Raises:
        ConfigError: the project has no `dagster.yaml`.
        InfrastructureError: the database of its storage does not answer.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or project.dagster_home)
    if not (home / "dagster.yaml").is_file():
        raise ConfigError(
            f"{home} has no dagster.yaml: work in the project's folder, or correct DAGSTER_HOME."
        )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        # Dagster opens a connection for every statement unless it is told that this process stays.
        instance.optimize_for_webserver(
            statement_timeout=_STATEMENT_TIMEOUT_MS,
            pool_recycle=_RECYCLE_SECONDS,
            max_overflow=_MAX_CONNECTIONS,
        )
        yield instance


def materialize(
    project: Project,
    key: BaselineKey,
    options: LineageOptions,
    *,
    stages: Sequence[str] | None = None,
) -> LineageRun:
    """Materialize `stages` (all of the lineage when None) of baseline `key`, for the UI to show.

    Raises:
        CrmAssetsError: an expected failure of a stage, or a check that did not pass.
        KeyboardInterrupt: Ctrl-C.
    """
    with open_instance(project) as instance:
        return materialize_on(instance, project, key, options, stages=stages)


def materialize_on(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    options: LineageOptions,
    *,
    stages: Sequence[str] | None = None,
) -> LineageRun:
    """Materialize `stages` (all of the lineage when None) of baseline `key` on an open instance.

    Raises:
        CrmAssetsError: an expected failure of a stage, or a check that did not pass.
        KeyboardInterrupt: Ctrl-C.
    """
    names = [asset.key.to_user_string() for asset in LINEAGE]
    selected = [name for name in names if stages is None or name in stages]
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            # About Dagster's own APIs, whose version is pinned: not the user's business.
            warnings.simplefilter("ignore", category)
        partition = register(instance, key)
        run_id = str(uuid.uuid4())
        try:
            defs.resolve_job_def(BASELINE_JOB).execute_in_process(
                instance=instance,
                partition_key=partition,
                run_config=options.run_config(selected),
                asset_selection=[dg.AssetKey(name) for name in selected],
                run_id=run_id,
            )
        except dg.Failure as failure:
            if isinstance(failure.__cause__, CrmAssetsError):
                raise failure.__cause__ from None
            raise
        except DagsterAssetCheckFailedError:
            raise CheckFailed(_failed_checks(instance, run_id)) from None
        except DagsterExecutionInterruptedError as interrupt:
            raise KeyboardInterrupt from interrupt
    return LineageRun(run_id, BaselinePaths.of(project, key))


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> str:
    evaluations = (
        record.dagster_event.asset_check_evaluation_data
        for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if record.dagster_event is not None
    )
    failed = [f"{item.check_name}: {item.description}" for item in evaluations if not item.passed]
    return f"The run was stopped by {' '.join(failed)}"
