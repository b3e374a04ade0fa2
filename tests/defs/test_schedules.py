"""The nightly schedule: what changed since the newest baseline is run again, with its options."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.partitions.context import partition_loading_context

from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.defs import schedules
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.schedules import nightly_baselines
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.atlas.loop import models_at, offline_models
from tests.llm.scripted_server import ScriptedServer

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


def test_a_night_that_was_stopped_goes_on_unless_something_changed_again(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LineageOptions(SessionPlan(agent="noop"))
    write_dataset(project.dataset_file("small"), 2, seed=11)
    materialize_on(instance, project, KEY, plan)
    write_dataset(project.dataset_file("small"), 3, seed=12)
    (first,) = tick(instance, project).run_requests or ()
    name = str(first.partition_key).partition("|")[2]
    assert name.endswith("-nightly")
    paths = BaselinePaths.of(project, BaselineKey.of("small", name))
    materialize_on(instance, project, paths.key, plan)
    paths.reopen()
    paths.unpublish()
    (second,) = tick(instance, project).run_requests or ()
    assert second.partition_key == first.partition_key
    with monkeypatch.context() as patch:
        patch.setattr(schedules, "code_fingerprint", lambda code: "0" * 64)
        (third,) = tick(instance, project).run_requests or ()
    assert third.partition_key != first.partition_key, "the code changed, so it cannot go on"


def test_a_changed_configuration_is_run_again_if_it_may_cost_what_it_does(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    write_dataset(project.dataset_file("small"), 2, seed=11)
    with ScriptedServer(offline_models) as server:
        document = models_at(server.url)
        config = project.root / "paid.yaml"
        config.write_text(yaml.safe_dump(document))
        plan = SessionPlan(agent="student", config=config)
        materialize_on(instance, project, KEY, LineageOptions(plan, limit=1, accept_cost=True))
    assert "nothing changed" in (tick(instance, project).skip_message or "")
    document["agent"]["system_prompt"] = "You work on a CRM."
    config.write_text(yaml.safe_dump(document))
    (request,) = tick(instance, project).run_requests or ()
    assert request.tags["crm_assets/nightly"] == "configuration"
    assert request.run_config["ops"]["atlas_sessions"]["config"]["config"] == "paid.yaml"
    config.write_text(yaml.safe_dump({**document, "confirm_above_usd": 0.0}))
    message = tick(instance, project).skip_message or ""
    assert "small: This may cost $" in message and "has no budget" in message


def test_the_schedule_is_stopped_until_somebody_starts_it() -> None:
    assert nightly_baselines.default_status is dg.DefaultScheduleStatus.STOPPED
