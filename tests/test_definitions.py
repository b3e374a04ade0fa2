"""The Dagster project as Dagster sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from crm_assets.definitions import defs
from crm_assets.jobs import BASELINE_JOB

REPOSITORY = Path(__file__).resolve().parent.parent

LINEAGE = ["dataset_revision", "atlas_tasks", "atlas_sessions", "baseline_metrics", "baseline_readme"]


def test_dagster_itself_finds_the_definitions_valid(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stderr + done.stdout


def test_each_stage_depends_on_the_one_before() -> None:
    graph = defs.resolve_asset_graph()
    before = "conversations"
    for name in LINEAGE:
        assert graph.get(dg.AssetKey(name)).parent_keys == {dg.AssetKey(before)}
        before = name


@pytest.mark.parametrize("name", LINEAGE)
def test_each_stage_is_on_both_dimensions_and_says_what_it_is(name: str) -> None:
    node = defs.resolve_asset_graph().get(dg.AssetKey(name))
    assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
    assert node.partitions_def.partition_dimension_names == ["dataset", "run"]
    assert node.group_name == "baseline"
    assert node.code_version == ("2" if name == "atlas_sessions" else "1")
    assert node.description


def test_the_source_is_observed_per_dataset() -> None:
    node = defs.resolve_asset_graph().get(dg.AssetKey("conversations"))
    assert node.is_observable
    assert not node.is_materializable
    assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
    assert node.partitions_def.name == "crm_dataset"
    assert node.group_name == "baseline"


def test_the_checks_block_on_the_partition() -> None:
    specs = {key.name: spec for checks in defs.asset_checks or [] for key, spec in _specs(checks).items()}
    assert {name: spec.asset_key.to_user_string() for name, spec in specs.items()} == {
        "dataset_unchanged": "atlas_tasks",
        "tasks_match_dataset": "atlas_tasks",
        "sessions_match_tasks": "atlas_sessions",
    }
    for spec in specs.values():
        assert spec.blocking
        assert isinstance(spec.partitions_def, dg.MultiPartitionsDefinition)


def _specs(checks: object) -> dict[dg.AssetCheckKey, dg.AssetCheckSpec]:
    assert isinstance(checks, dg.AssetChecksDefinition)
    return {spec.key: spec for spec in checks.check_specs}


def test_the_job_is_the_whole_lineage() -> None:
    job = defs.resolve_job_def(BASELINE_JOB)
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(LINEAGE)
    assert len(job.asset_layer.asset_graph.asset_check_keys) == 3


def test_the_instance_is_configured_to_stay_silent_and_on_postgres() -> None:
    document = yaml.safe_load((REPOSITORY / "dagster_home" / "dagster.yaml").read_text())
    assert document["telemetry"] == {"enabled": False}
    assert document["storage"]["custom"]["class"] == "ProjectPostgresStorage"


def test_loading_the_definitions_leaves_the_heavy_libraries_alone() -> None:
    script = "import sys, crm_assets.definitions; print(sorted({'pandas', 'litellm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
