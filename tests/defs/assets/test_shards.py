"""A baseline whose sessions are divided: one asset, each session once, whatever its steps meet."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import orjson
import pytest

from crm_assets.definitions import defs
from crm_assets.defs.jobs import BASELINE_JOB
from crm_assets.defs.partitions import register
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.engine import Shard
from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

COUNT = 9
KEY = BaselineKey.of("small", "20260131T093000Z")


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    write_dataset(project.dataset_file("small"), COUNT, seed=11)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(instance: dg.DagsterInstance, **options: object) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(BASELINE_JOB).execute_in_process(
        instance=instance,
        partition_key=register(instance, KEY),
        run_config={"ops": {"atlas_sessions": {"config": {"agent": "replay", **options}}}},
        raise_on_error=False,
    )


def test_shards_are_steps_of_one_asset(instance: dg.DagsterInstance, project: Project) -> None:
    result = run(instance, shards=3)
    assert result.success
    ran = [event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"]
    sessions = [key for key in ran if key and key.startswith("atlas_sessions.")]
    assert sorted(sessions[1:-1]) == [f"atlas_sessions.run_shard[shard_{n}_of_3]" for n in (1, 2, 3)]
    assert (sessions[0], sessions[-1]) == ("atlas_sessions.plan", "atlas_sessions.merge")
    (made,) = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("atlas_sessions")
    ]
    shown = {name: value.value for name, value in made.metadata.items()}
    assert (shown["sessions"], shown["strict_success"], shown["done_before"]) == (COUNT, COUNT, 0)
    assert {"seconds", "sandboxes_reset", "sandboxes_discarded", "sha256"} <= shown.keys()
    assert all(check.passed for check in result.get_asset_check_evaluations())
    paths = BaselinePaths.of(project, KEY)
    assert paths.finished
    assert not (paths.folder / "shards").exists()


def test_a_shard_whose_time_is_over_goes_on_in_its_next_pass(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes are no retries: there are none here."""
    starts: list[str] = []

    def over_at_first(_: SessionsConfig, shard: Shard) -> float | None:
        starts.append(shard.name)
        return 0.0 if starts.count(shard.name) == 1 else None

    monkeypatch.setattr(SessionsConfig, "seconds_of", over_at_first)
    result = run(instance, shards=2, retries=0)
    assert result.success
    assert sorted(starts) == ["shard_1_of_2"] * 2 + ["shard_2_of_2"] * 2
    lines = BaselinePaths.of(project, KEY).sessions.read_bytes().splitlines()
    assert len({orjson.loads(line)["task_id"] for line in lines}) == len(lines) == COUNT
