"""The Dagster project as Dagster sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from crm_assets.definitions import defs
from crm_assets.defs.assets.sessions import POOL
from crm_assets.defs.checks import BLOCKING, SMOKE_JOB, SMOKE_NAMES, WARNINGS
from crm_assets.defs.jobs import (
    BASELINE_JOB,
    HARNESS_JOB,
    HISTORY_JOB,
    LEADERBOARD_JOB,
    RESCORE_JOB,
    STUDY_JOB,
    SWEEP_JOB,
)

REPOSITORY = Path(__file__).resolve().parent.parent

LINEAGE = ["dataset_revision", "atlas_tasks", "atlas_sessions", "baseline_metrics", "baseline_readme"]
OTHERS = ["conversations", "baseline_history", "leaderboard", "playbook", "learning_study"]
CODE_VERSIONS = {"dataset_revision": "2", "atlas_sessions": "3", "baseline_readme": "2"}
WARNED = {
    "dataset_audit": "dataset_revision",
    "missing_verdicts": "baseline_metrics",
    "tools_called": "baseline_metrics",
    "cost_within_budget": "baseline_metrics",
    "reward_drift": "atlas_sessions",
    "telemetry_matches_sessions": "atlas_sessions",
    "sandbox_reset": "atlas_sessions",
    "leakage_check": "atlas_sessions",
}
BLOCKED = {
    "dataset_unchanged": "atlas_tasks",
    "tasks_match_dataset": "atlas_tasks",
    "sessions_match_tasks": "atlas_sessions",
}

GATE = "gate"


@pytest.mark.whole
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


@pytest.mark.whole
def test_dg_lists_the_definitions(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dg")), "list", "defs", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {*LINEAGE, *OTHERS} == {a["asset_key"] for a in listed["assets"]}
    known = {
        *(BASELINE_JOB, HARNESS_JOB, HISTORY_JOB, LEADERBOARD_JOB),
        *(RESCORE_JOB, SMOKE_JOB, STUDY_JOB, SWEEP_JOB),
    }
    assert known == {job["name"] for job in listed["jobs"]}


def test_each_stage_depends_on_the_one_before() -> None:
    graph = defs.resolve_asset_graph()
    before = "conversations"
    for name in LINEAGE:
        others = {dg.AssetKey("playbook")} if name == "atlas_sessions" else set()
        assert graph.get(dg.AssetKey(name)).parent_keys == {dg.AssetKey(before), *others}
        before = name


@pytest.mark.parametrize("name", LINEAGE)
def test_each_stage_is_on_both_dimensions_and_says_what_it_is(name: str) -> None:
    node = defs.resolve_asset_graph().get(dg.AssetKey(name))
    assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
    assert node.partitions_def.partition_dimension_names == ["dataset", "run"]
    assert node.group_name == "baseline"
    assert node.code_version == CODE_VERSIONS.get(name, "1")
    assert "Read by" in (node.description or "") or "For people" in (node.description or "")
    assert node.kinds
    assert node.owners
    assert node.tags["crm_assets/stage"]


def test_the_history_is_of_all_runs_of_a_dataset_and_stays_out_of_the_lineages_group() -> None:
    graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey("baseline_history"))
    assert node.group_name == "history"
    assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
    mapping = graph.get_partition_mapping(node.key, dg.AssetKey("baseline_metrics"))
    assert isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping)


def test_the_source_is_observed_per_dataset() -> None:
    node = defs.resolve_asset_graph().get(dg.AssetKey("conversations"))
    assert node.is_observable
    assert not node.is_materializable
    assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
    assert node.partitions_def.name == "crm_dataset"
    assert node.group_name == "baseline"
    assert node.kinds == {"jsonl"}


@pytest.mark.parametrize("name", [*LINEAGE, "baseline_history", "leaderboard", "learning_study"])
def test_each_asset_leads_to_its_code(name: str) -> None:
    metadata = defs.resolve_asset_graph().get(dg.AssetKey(name)).metadata
    references = metadata["dagster/code_references"]
    assert isinstance(references, dg.CodeReferencesMetadataValue)
    (reference,) = references.code_references
    assert isinstance(reference, dg.LocalFileCodeReference | dg.UrlCodeReference)
    assert "crm_assets/defs/assets/" in reference.source


def _specs(checks: list[dg.AssetChecksDefinition]) -> dict[str, dg.AssetCheckSpec]:
    return {spec.name: spec for each in checks for spec in each.check_specs}


def test_some_checks_block_on_the_partition_and_others_warn() -> None:
    for checks, names, blocking in ((BLOCKING, BLOCKED, True), (WARNINGS, WARNED, False)):
        specs = _specs(checks)
        assert {name: spec.asset_key.to_user_string() for name, spec in specs.items()} == names
        for spec in specs.values():
            assert spec.blocking is blocking
            assert isinstance(spec.partitions_def, dg.MultiPartitionsDefinition)
            assert "If " in (spec.description or ""), "it does not say what to do"


def _job(name: str) -> tuple[set[str], set[str]]:
    job = defs.resolve_job_def(name)
    assets = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    return assets, {key.name for key in job.asset_layer.asset_graph.asset_check_keys}


@pytest.mark.parametrize("job", [BASELINE_JOB, HARNESS_JOB])
def test_a_baseline_is_the_whole_lineage_with_its_checks(job: str) -> None:
    assert _job(job) == (set(LINEAGE), {*BLOCKED, *WARNED, GATE})


def test_only_the_smoke_job_is_held_to_the_smoke_checklist() -> None:
    assert _job(SMOKE_JOB) == (
        set(LINEAGE),
        {*BLOCKED, *WARNED, GATE, *(f"smoke_{name}" for name in (*SMOKE_NAMES, "metrics_complete"))},
    )


def test_rescoring_asks_no_model() -> None:
    assert _job(RESCORE_JOB)[0] == {"baseline_metrics", "baseline_readme"}
    assert _job(HISTORY_JOB)[0] == {"baseline_history"}


def test_the_sensors_run_from_the_start() -> None:
    sensors = {sensor.name: sensor for sensor in defs.sensors or []}
    assert sensors.keys() == {"datasets", "finished_baselines", "failed_runs"}
    for sensor in sensors.values():
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        assert sensor.description


def test_runs_that_ask_models_share_a_pool_that_is_never_closed_by_default() -> None:
    job = defs.resolve_job_def(BASELINE_JOB)
    assert [node.name for node in job.nodes if node.definition.pools] == ["atlas_sessions"]
    assert POOL in job.get_node_named("atlas_sessions").definition.pools
    pools = _instance_document()["concurrency"]["pools"]
    assert pools["default_limit"] > 0
    assert pools["granularity"] == "run"


def _instance_document() -> dict[str, dict[str, dict[str, object]]]:
    document: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(
        (REPOSITORY / "dagster_home" / "dagster.yaml").read_text()
    )
    return document


def test_the_instance_is_configured_to_stay_silent_and_on_postgres() -> None:
    document = _instance_document()
    assert document["telemetry"] == {"enabled": False}
    assert document["storage"]["custom"]["class"] == "ProjectPostgresStorage"


def test_one_baseline_of_a_dataset_at_a_time_and_lost_runs_are_retried() -> None:
    document = _instance_document()
    assert document["concurrency"]["runs"]["tag_concurrency_limits"] == [
        {"key": "dagster/partition/dataset", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    ]
    assert document["run_monitoring"]["enabled"] is True
    assert document["run_retries"]["enabled"] is True
    assert document["run_retries"]["retry_on_asset_or_op_failure"] is False


def test_loading_the_definitions_leaves_the_heavy_libraries_alone() -> None:
    heavy = "{'pandas', 'litellm', 'matplotlib', 'numpy', 'PIL', 'markdown_it', 'grpc'}"
    script = (
        "import sys, dagster; before = set(sys.modules); import crm_assets.definitions; "
        f"print(sorted({heavy} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
