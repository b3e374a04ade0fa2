"""Several runs of a dataset: here, and as a backfill of the daemon (which is not run here)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._daemon.types import DaemonHeartbeat

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.task_run import TaskRun
from crm_assets.definitions import defs
from crm_assets.defs.assets.sessions import POOL
from crm_assets.errors import InfrastructureError
from crm_assets.generator import write_dataset
from crm_assets.orchestration.backfills import (
    Backfill,
    daemon_is_running,
    follow,
    pool_is_closed,
    run_here,
    submit,
)
from crm_assets.orchestration.materialize import LineageOptions, open_instance
from crm_assets.reporting.history import HistoryPaths, read_history
from crm_assets.workspace.baseline_files import BaselinePaths, finished_runs
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

KEYS = [BaselineKey.of("small", f"2026013{day}T093000Z") for day in (0, 1)]
REPLAY = LineageOptions(SessionPlan(agent="replay"), limit=2)
WANTED = Backfill("small", KEYS, REPLAY)


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """The project's own instance, on Postgres."""
    write_dataset(project.dataset_file("small"), 3, seed=11)
    with open_instance(project) as instance:
        yield instance


def beat(instance: dg.DagsterInstance, at: float) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(at, "BACKFILL", "some-daemon", []))


def test_runs_are_made_one_after_the_other_and_the_history_follows(
    instance: dg.DagsterInstance, project: Project
) -> None:
    assert list(run_here(instance, project, WANTED)) == [(key, None) for key in KEYS]
    assert [paths.key for paths in finished_runs(project, "small")] == KEYS
    history = read_history(project, "small")
    assert [run.run for run in history.runs] == [str(key.run) for key in KEYS]
    assert HistoryPaths.of(project, "small").document.is_file()


def test_a_run_that_fails_does_not_keep_the_others_from_running(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, starts = TaskRun.take, []

    def flaky(*files: Any, **options: Any) -> Any:
        starts.append(1)
        if len(starts) == 1:
            raise InfrastructureError("The database went away.")
        return real(*files, **options)

    monkeypatch.setattr(TaskRun, "take", flaky)
    (first, error), (second, none) = run_here(instance, project, WANTED)
    assert (first, second, none) == (KEYS[0], KEYS[1], None)
    assert "went away" in str(error)


def test_a_daemon_runs_while_its_heart_beats(instance: dg.DagsterInstance) -> None:
    assert not daemon_is_running(instance)
    beat(instance, at=1000.0)
    assert daemon_is_running(instance, clock=lambda: 1090.0)
    assert not daemon_is_running(instance, clock=lambda: 1100.0)


def test_a_pool_with_no_places_is_noticed(instance: dg.DagsterInstance) -> None:
    assert not pool_is_closed(instance)
    instance.event_log_storage.set_concurrency_slots(POOL, 0)
    assert pool_is_closed(instance)
    instance.event_log_storage.set_concurrency_slots(POOL, 2)
    assert not pool_is_closed(instance)


def test_a_submitted_backfill_is_what_the_daemon_needs(
    instance: dg.DagsterInstance, project: Project
) -> None:
    backfill = instance.get_backfill(submit(instance, project, WANTED))
    assert backfill is not None
    assert backfill.status == BulkActionStatus.REQUESTED
    assert backfill.is_asset_backfill
    targets = backfill.get_asset_backfill_data(defs.resolve_asset_graph()).target_subset
    assert {key.to_user_string() for key in targets.asset_keys} == set(WANTED.stages)
    partitions = {str(each.partition_key) for each in targets.iterate_asset_partitions()}
    assert partitions == {str(key) for key in KEYS}
    assert backfill.run_config is not None
    assert backfill.run_config["ops"]["atlas_tasks"]["config"]["limit"] == 2
    assert backfill.run_config["ops"]["atlas_sessions"]["config"]["agent"] == "replay"
    assert set(instance.get_dynamic_partitions("crm_run")) == {str(key.run) for key in KEYS}


def test_rescoring_targets_metrics_and_readme_alone(instance: dg.DagsterInstance, project: Project) -> None:
    wanted = Backfill("small", KEYS, REPLAY, ("baseline_metrics", "baseline_readme"))
    backfill = instance.get_backfill(submit(instance, project, wanted))
    assert backfill is not None
    assert {key.to_user_string() for key in backfill.asset_selection or []} == set(wanted.stages)
    assert backfill.run_config == {} or not backfill.run_config.get("ops")


def test_following_a_backfill_whose_daemon_is_gone_says_so(
    instance: dg.DagsterInstance, project: Project
) -> None:
    backfill_id = submit(instance, project, WANTED)
    states = follow(instance, backfill_id, poll_seconds=0)
    assert next(states).status == "requested"
    with pytest.raises(InfrastructureError, match=r"daemon has stopped; start .* continue backfill \w+"):
        next(states)


def test_following_ends_when_the_backfill_is_over(instance: dg.DagsterInstance, project: Project) -> None:
    backfill_id = submit(instance, project, WANTED)
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_FAILED))
    (state,) = follow(instance, backfill_id)
    assert (state.status, state.over, state.succeeded) == ("completed_failed", True, False)


def test_a_backfill_that_was_stopped_goes_on(instance: dg.DagsterInstance, project: Project) -> None:
    done = run_here(instance, project, WANTED)
    next(done)
    done.close()  # as Ctrl-C between two runs
    assert [paths.key for paths in finished_runs(project, "small")] == KEYS[:1]
    assert not BaselinePaths.of(project, KEYS[1]).finished
    rest = Backfill("small", KEYS[1:], REPLAY)
    assert list(run_here(instance, project, rest)) == [(KEYS[1], None)]
