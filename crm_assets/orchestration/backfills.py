"""Several runs of a dataset: as a backfill of Dagster's daemon, or one after the other in this process."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.utils import make_new_backfill_id

from crm_assets.definitions import defs
from crm_assets.defs.assets.sessions import POOL
from crm_assets.defs.partitions import register
from crm_assets.errors import CrmAssetsError, InfrastructureError
from crm_assets.orchestration.materialize import STAGES, LineageOptions, materialize_on, refresh_history
from crm_assets.workspace.baseline_files import plan_run
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

__all__ = [
    "Backfill",
    "BackfillState",
    "daemon_is_running",
    "follow",
    "pool_is_closed",
    "run_here",
    "submit",
]

_DAEMON = "BACKFILL"
_FRESH_SECONDS = 95.0
"""Daemons beat every 30 s: one that has been silent for longer than three beats is gone."""
_POLL_SECONDS = 2.0
_OVER = {
    BulkActionStatus.COMPLETED,
    BulkActionStatus.COMPLETED_SUCCESS,
    BulkActionStatus.COMPLETED_FAILED,
    BulkActionStatus.FAILED,
    BulkActionStatus.CANCELED,
}


@dataclass(frozen=True)
class Backfill:
    """The stages and runs to make."""

    name: str
    """The dataset, or the sweep, that they are of."""
    keys: Sequence[BaselineKey]
    options: LineageOptions
    stages: Sequence[str] = STAGES

    @property
    def datasets(self) -> list[str]:
        """Return the datasets of the runs."""
        return list(dict.fromkeys(key.dataset for key in self.keys))


class BackfillState(NamedTuple):
    """The state of a backfill in the daemon."""

    status: str
    runs: dict[str, int]
    """Its runs by their status, in lower case."""
    over: bool
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Return True if it is over and every run succeeded."""
        good = self.status in ("completed", "completed_success")
        return self.over and good and self.error is None and set(self.runs) <= {"success"}


def daemon_is_running(instance: dg.DagsterInstance, *, clock: Callable[[], float] = time.time) -> bool:
    """Return True if a daemon runs backfills, as `crm-assets ui` starts it."""
    beat = instance.get_daemon_heartbeats().get(_DAEMON)
    return beat is not None and clock() - beat.timestamp < _FRESH_SECONDS


def pool_is_closed(instance: dg.DagsterInstance) -> bool:
    """Return True if the pool of runs with models has the limit 0: they would wait forever."""
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    return limits.get(POOL) == 0


def submit(instance: dg.DagsterInstance, project: Project, backfill: Backfill) -> str:
    """Hand a backfill to the daemon, which makes a run for each key; returns its ID."""
    for key in backfill.keys:
        plan_run(project, key)
    partitions = [register(instance, key) for key in backfill.keys]
    backfill_id = make_new_backfill_id()
    stages = [name for name in STAGES if name in backfill.stages]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id=backfill_id,
                asset_graph=defs.resolve_asset_graph(),
                partition_names=[str(partition) for partition in partitions],
                asset_selection=[dg.AssetKey(name) for name in stages],
                backfill_timestamp=time.time(),
                tags={"crm_assets/backfill": backfill.name},
                dynamic_partitions_store=instance,
                all_partitions=False,
                title=f"{len(partitions)} runs of {backfill.name}",
                description=None,
                run_config=_run_config(backfill.options, stages),
            )
        )
    return backfill_id


def _run_config(options: LineageOptions, stages: Sequence[str]) -> dict[str, Any]:
    config = dg.RunConfig(ops=dict(options.ops(stages)))
    return dict(config.to_config_dict())  # type: ignore[no-untyped-call]


def follow(
    instance: dg.DagsterInstance, backfill_id: str, *, poll_seconds: float = _POLL_SECONDS
) -> Iterator[BackfillState]:
    """Yield the state of a backfill whenever it changes, until it is over.

    Raises:
        InfrastructureError: the daemon has stopped; the backfill continues with the next one.
    """
    last: BackfillState | None = None
    while True:
        state = _state(instance, backfill_id)
        if state != last:
            last = state
            yield state
        if state.over:
            return
        if not daemon_is_running(instance):
            raise InfrastructureError(
                f"Dagster's daemon has stopped; start `crm-assets ui` to continue backfill {backfill_id}."
            )
        time.sleep(poll_seconds)


def _state(instance: dg.DagsterInstance, backfill_id: str) -> BackfillState:
    backfill = instance.get_backfill(backfill_id)
    if backfill is None:
        raise InfrastructureError(f"Backfill {backfill_id} is gone from Dagster's storage.")
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill_id}))
    over = backfill.status in _OVER and all(run.status in FINISHED_STATUSES for run in runs)
    retried = {run.parent_run_id for run in runs}
    counts = Counter(run.status.value.lower() for run in runs if run.run_id not in retried)
    error = backfill.error.message.strip() if backfill.error else None
    return BackfillState(backfill.status.value.lower(), dict(sorted(counts.items())), over, error)


def run_here(
    instance: dg.DagsterInstance, project: Project, backfill: Backfill
) -> Iterator[tuple[BaselineKey, CrmAssetsError | None]]:
    """Make the runs one after the other; yield each with its error, if any. The history follows.

    A failed run does not stop the others.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished runs are kept, and the same call resumes.
    """
    try:
        for key in backfill.keys:
            try:
                # None: what is missing of each
                stages = None if tuple(backfill.stages) == STAGES else backfill.stages
                materialize_on(instance, project, key, backfill.options, stages=stages)
            except CrmAssetsError as error:
                yield key, error
            else:
                yield key, None
    finally:
        for dataset in backfill.datasets:
            refresh_history(instance, dataset)
