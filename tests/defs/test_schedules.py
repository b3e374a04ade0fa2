"""The nightly schedule: what changed since the newest baseline is run again, with its options."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.defs import schedules
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.schedules import nightly_baselines
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, open_instance
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

KEY = BaselineKey.of("small", "20260131T093000Z")


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with open_instance(project) as instance:
        yield instance


def tick(instance: dg.DagsterInstance, project: Project) -> dg.ScheduleExecutionData:
    context = dg.build_schedule_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        resources={"artifacts": ArtifactsResource(root=str(project.root))},
    )
    with context, partition_loading_context(dynamic_partitions_store=instance):
        return nightly_baselines.evaluate_tick(context)


def test_only_what_changed_is_run_again_with_the_options_it_had(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(project.dataset_file("small"), 4, seed=11)
    without = tick(instance, project)
    assert "small: no finished baseline" in (without.skip_message or "")
    materialize_on(instance, project, KEY, LineageOptions(SessionPlan(agent="noop"), limit=2))
    assert "small: nothing changed since 20260131T093000Z" in (tick(instance, project).skip_message or "")

    with monkeypatch.context() as patch:
        patch.setattr(schedules, "code_fingerprint", lambda code: "0" * 64)
        (code,) = tick(instance, project).run_requests or ()
    assert code.tags["crm_assets/nightly"] == "code"

    write_dataset(project.dataset_file("small"), 5, seed=12)
    (request,) = tick(instance, project).run_requests or ()
    assert request.tags["crm_assets/nightly"] == "dataset"
    ops = request.run_config["ops"]
    assert ops["atlas_sessions"]["config"]["agent"] == "noop"
    assert ops["atlas_tasks"]["config"]["limit"] == 2
    assert request.partition_key is not None and request.partition_key != str(KEY)
    assert instance.has_dynamic_partition("crm_run", request.partition_key.partition("|")[2])


def test_the_schedule_is_stopped_until_somebody_starts_it() -> None:
    assert nightly_baselines.default_status is dg.DefaultScheduleStatus.STOPPED
