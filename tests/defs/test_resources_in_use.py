"""Assets and checks work on the databases that their resources name, and on no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from crm_assets.atlas.task_run import TaskRun
from crm_assets.database import connect_databases
from crm_assets.definitions import defs
from crm_assets.defs.jobs import BASELINE_JOB
from crm_assets.defs.partitions import register
from crm_assets.defs.resources import EMPTY_BASE, PostgresResource, SandboxResource
from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import SANDBOXES

from .resources.test_resources import leave_a_row

KEY = BaselineKey.of("small", "20260131T093000Z")


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    write_dataset(project.dataset_file("small"), 2, seed=11)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def elsewhere(project: Project) -> str:
    """Another database than the environment names."""
    name = f"elsewhere_{uuid4().hex[:8]}"
    with psycopg.connect(connect_databases(project).sandbox, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        host, port, user = connection.info.host, connection.info.port, connection.info.user
    return f"postgresql://{user}@/{name}?host={host}&port={port}"


def run(instance: dg.DagsterInstance, agent: str, **resources: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(BASELINE_JOB).execute_in_process(
        instance=instance,
        partition_key=register(instance, KEY),
        run_config={
            "ops": {"atlas_sessions": {"config": {"agent": agent}}},
            "resources": {name: {"config": config} for name, config in resources.items()},
        },
    )


def schemas(conninfo: str) -> set[str]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'").fetchall()
    return {row[0] for row in rows}


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    made = result.asset_materializations_for_node(asset)
    (event,) = [each for each in made if each.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.metadata.items()}


def test_a_run_uses_the_databases_that_the_launchpad_names(
    instance: dg.DagsterInstance, project: Project, elsewhere: str
) -> None:
    result = run(instance, "atlas", postgres={"sandbox_url": elsewhere, "telemetry_url": elsewhere})
    assert result.success
    assert {"sandbox_001", "ground_truth"} <= schemas(elsewhere)
    with psycopg.connect(connect_databases(project).sandbox) as usual:
        assert usual.execute("SELECT count(*) FROM ground_truth.end_states").fetchone() == (0,)
    with psycopg.connect(elsewhere) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (2,)
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert checks["telemetry_matches_sessions"].passed
    assert checks["sandbox_reset"].passed


def test_sessions_show_the_reset_and_their_row_in_the_telemetry(
    instance: dg.DagsterInstance, project: Project
) -> None:
    shown = metadata(run(instance, "atlas"), "atlas_sessions")
    assert shown["sandbox_fingerprint"] == EMPTY_BASE
    assert (shown["sandboxes_reset"], shown["sandboxes_remade"]) == (SANDBOXES, 0)
    assert shown["telemetry_sessions"] == 2
    row = shown["telemetry_row"]
    assert (row["status"], row["execution_mode"]) == ("succeeded", "paired")
    assert 0 <= row["reward"] <= 1
    assert row["created_at"] <= row["completed_at"]
    BaselinePaths.of(project, KEY).unpublish()
    again = run(instance, "atlas")  # which keeps the sessions
    assert "sandbox_fingerprint" not in metadata(again, "atlas_sessions")
    checks = {each.check_name: each for each in again.get_asset_check_evaluations()}
    assert checks["sandbox_reset"].passed


def test_a_row_that_stays_in_a_sandbox_is_removed_before_sessions_and_reported_after_them(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = PostgresResource.of(project)
    with SandboxResource(postgres=postgres).lease() as leased:
        schema = leased.schema
    leave_a_row(postgres, schema)
    real = TaskRun.take

    def leaky(*arguments: Any, **options: Any) -> Any:
        summary = real(*arguments, **options)
        leave_a_row(postgres, schema)
        return summary

    monkeypatch.setattr(TaskRun, "take", leaky)
    result = run(instance, "replay")
    assert metadata(result, "atlas_sessions")["sandboxes_remade"] == 1
    (reset,) = [each for each in result.get_asset_check_evaluations() if each.check_name == "sandbox_reset"]
    assert not reset.passed
    assert str(reset.description).endswith(f": 1 of {SANDBOXES} sandboxes held rows.")
