"""What Dagster calls stale, on the project's own instance."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.defs.assets import conversations
from crm_assets.defs.partitions import multi_partition
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, open_instance
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

STAGES = ["dataset_revision", "atlas_tasks"]
RUN = "20260131T093000Z"
ONE, OTHER = (BaselineKey.of(name, RUN) for name in ("one", "other"))


@pytest.fixture
def instance(project: Project, snapshots: Snapshots) -> Iterator[dg.DagsterInstance]:
    """The project's own instance, on Postgres, with two datasets of which one run each is there."""

    def make_both() -> None:
        for seed, key in enumerate((ONE, OTHER)):
            write_dataset(project.dataset_file(key.dataset), 2, seed=seed)
            with open_instance(project) as instance:
                make(instance, project, key)

    snapshots.bring(project, "tasks of two datasets", make_both)
    with open_instance(project) as instance:
        yield instance


def make(instance: dg.DagsterInstance, project: Project, key: BaselineKey) -> None:
    options = LineageOptions(SessionPlan(agent="replay"), overwrite=True)
    materialize_on(instance, project, key, options, stages=STAGES)


def observe(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_implicit_job_def_def_for_assets([conversations.key])
    assert job is not None
    assert job.execute_in_process(instance=instance, asset_selection=[conversations.key]).success


def status(instance: dg.DagsterInstance, asset: str, key: BaselineKey) -> str:
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return resolver.get_status(dg.AssetKey(asset), multi_partition(key)).value


def test_what_was_just_made_is_fresh(instance: dg.DagsterInstance) -> None:
    assert {status(instance, stage, key) for stage in STAGES for key in (ONE, OTHER)} == {"FRESH"}


def test_a_dataset_that_is_observed_again_unchanged_makes_nothing_stale(
    instance: dg.DagsterInstance,
) -> None:
    observe(instance)
    observe(instance)
    assert {status(instance, stage, key) for stage in STAGES for key in (ONE, OTHER)} == {"FRESH"}


def test_a_changed_dataset_makes_its_own_partitions_stale_and_no_others(
    instance: dg.DagsterInstance, project: Project
) -> None:
    write_dataset(project.dataset_file("one"), 2, seed=99)
    observe(instance)
    assert status(instance, "dataset_revision", ONE) == "STALE"
    assert status(instance, "dataset_revision", OTHER) == "FRESH"


def test_the_next_run_of_a_changed_dataset_is_fresh_and_the_old_one_stays_stale(
    instance: dg.DagsterInstance, project: Project
) -> None:
    write_dataset(project.dataset_file("one"), 2, seed=99)
    new = BaselineKey.of("one", "20260201T093000Z")
    make(instance, project, new)
    assert status(instance, "dataset_revision", new) == "FRESH"
    assert status(instance, "dataset_revision", ONE) == "STALE"


def test_making_a_stale_run_again_makes_it_fresh(instance: dg.DagsterInstance, project: Project) -> None:
    write_dataset(project.dataset_file("one"), 2, seed=99)
    observe(instance)
    make(instance, project, ONE)
    assert status(instance, "dataset_revision", ONE) == "FRESH"
