"""The checks of data and figures, on a run of the ground truth whose files are changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import orjson
import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.defs.jobs import BASELINE_JOB
from crm_assets.defs.partitions import multi_partition
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.reference import set_reference

KEY = BaselineKey.of("small", "20260131T093000Z")
REPLAY = LineageOptions(SessionPlan(agent="replay"))


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, and a dataset of four conversations."""
    write_dataset(project.dataset_file("small"), 4, seed=11)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def evaluations(
    instance: dg.DagsterInstance, asset: str, ops: dict[str, Any] | None = None
) -> dict[str, dg.AssetCheckEvaluation]:
    """Materialize one asset of the partition again, and evaluate its checks."""
    result = defs.resolve_job_def(BASELINE_JOB).execute_in_process(
        instance=instance,
        partition_key=multi_partition(KEY),
        asset_selection=[dg.AssetKey(asset)],
        run_config={"ops": ops or {}},
    )
    assert result.success, "a warning stopped the run"
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def lose_verdicts(project: Project, count: int, status: str = "failed") -> None:
    paths = BaselinePaths.of(project, KEY)
    sessions = [orjson.loads(line) for line in paths.sessions.read_bytes().splitlines()]
    for session in sessions[:count]:
        session["status"] = status
        session["conversation_result"].update(
            status="infrastructure_error" if status == "failed" else status,
            error_message="The database went away.",
            overall_success=None,
            state_match=None,
        )
    paths.sessions.write_bytes(b"".join(orjson.dumps(session) + b"\n" for session in sessions))


def test_missing_verdicts_above_the_threshold_are_warned_of_with_the_bounds(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, REPLAY)
    assert evaluations(instance, "baseline_metrics")["missing_verdicts"].passed
    lose_verdicts(project, 1)
    found = evaluations(instance, "baseline_metrics")["missing_verdicts"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 of 4 conversations have no verdict" in (found.description or "")
    assert "between 75.0% and 100.0%" in (found.description or "")
    assert "1 × The database went away." in (found.description or "")
    config = {"baseline_metrics_missing_verdicts": {"config": {"most": 0.25}}}
    assert evaluations(instance, "baseline_metrics", config)["missing_verdicts"].passed


def test_an_agent_that_calls_no_tool_is_warned_of(instance: dg.DagsterInstance, project: Project) -> None:
    stages = ["dataset_revision", "atlas_tasks", "atlas_sessions"]
    materialize_on(instance, project, KEY, LineageOptions(SessionPlan(agent="noop")), stages=stages)
    found = evaluations(instance, "baseline_metrics")["tools_called"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "set agent.tool_mode to text, or to auto" in (found.description or "")
    config = {"baseline_metrics_tools_called": {"config": {"most": 1.0}}}
    assert evaluations(instance, "baseline_metrics", config)["tools_called"].passed


def test_a_budget_that_ended_the_run_is_warned_of(instance: dg.DagsterInstance, project: Project) -> None:
    materialize_on(instance, project, KEY, REPLAY)
    assert evaluations(instance, "baseline_metrics")["cost_within_budget"].passed
    lose_verdicts(project, 2, status="not_run")
    found = evaluations(instance, "baseline_metrics")["cost_within_budget"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "The budget ended before 2 of 4 conversations" in (found.description or "")


def test_what_the_audit_found_is_warned_of(instance: dg.DagsterInstance, project: Project) -> None:
    assert materialize_on(instance, project, KEY, REPLAY, stages=["dataset_revision"])
    assert evaluations(instance, "dataset_revision")["dataset_audit"].passed
    file = project.dataset_file("small")
    conversations = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    conversations[0]["turns"][0]["user_utterance"] += " Put it in stage {stage}."
    file.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in conversations))
    found = evaluations(instance, "dataset_revision")["dataset_audit"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 unfillable placeholders" in (found.description or "")


def test_a_baseline_that_is_worse_than_the_reference_is_warned_of_or_fails_the_run(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, REPLAY)
    alone = evaluations(instance, "baseline_readme")["gate"]
    assert alone.passed and (alone.description or "").endswith("There was nothing to compare.")
    set_reference(project, BaselinePaths.of(project, KEY), author="Ada")
    worse = BaselineKey.of("small", "20260201T093000Z")
    noop = LineageOptions(SessionPlan(agent="noop"))
    run_id = materialize_on(instance, project, worse, noop).run_id
    (found,) = (
        record.dagster_event.asset_check_evaluation_data
        for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if record.dagster_event and record.dagster_event.asset_check_evaluation_data.check_name == "gate"
    )
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "is worse than 20260131T093000Z by more than 2 points" in (found.description or "")
    blocked = defs.resolve_job_def(BASELINE_JOB).execute_in_process(
        instance=instance,
        partition_key=multi_partition(worse),
        asset_selection=[dg.AssetKey("baseline_readme")],
        run_config={"ops": {"baseline_readme_gate": {"config": {"blocking": True}}}},
        raise_on_error=False,
    )
    assert not blocked.success and BaselinePaths.of(project, worse).finished
