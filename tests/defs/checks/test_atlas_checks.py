"""The checks of Atlas runs, on real runs of the offline models."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.smoke import read_smoke_log, smoke_log
from crm_assets.definitions import defs
from crm_assets.defs.checks import SMOKE_JOB, SMOKE_NAMES
from crm_assets.defs.partitions import multi_partition
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import CheckFailed, LineageOptions, materialize_on
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

KEY = BaselineKey.of("small", "20260131T093000Z")
Lines = list[dict[str, Any]]


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, and a dataset of two conversations."""
    write_dataset(project.dataset_file("small"), 2, seed=11)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def paths(project: Project) -> BaselinePaths:
    return BaselinePaths.of(project, KEY)


def evaluate(instance: dg.DagsterInstance, check: str, **config: object) -> dg.AssetCheckEvaluation:
    """Evaluate one check of the partition again."""
    asset = {"cost_within_budget": "baseline_metrics", "missing_verdicts": "baseline_metrics"}
    on = dg.AssetKey(asset.get(check, "atlas_sessions"))
    job = dg.define_asset_job("only", selection=dg.AssetSelection.checks(dg.AssetCheckKey(on, check)))
    definitions = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    partition = {"": str(KEY), "/dataset": KEY.dataset, "/run": str(KEY.run)}
    result = definitions.resolve_job_def("only").execute_in_process(
        instance=instance,
        # Not partition_key: that is looked up in the assets of a job, of which there are none.
        tags={f"dagster/partition{dimension}": value for dimension, value in partition.items()},
        run_config={"ops": {f"{on.to_user_string()}_{check}": {"config": config}}} if config else None,
    )
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def edit(path: Path, change: Callable[[Lines], Any]) -> None:
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    change(lines)
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def metadata(evaluation: dg.AssetCheckEvaluation, name: str) -> Any:
    return evaluation.metadata[name].value


def test_an_atlas_run_passes_and_its_requests_can_be_derived_again(
    instance: dg.DagsterInstance, project: Project, paths: BaselinePaths
) -> None:
    materialize_on(instance, project, KEY, LineageOptions(SessionPlan()))
    for check in (
        "leakage_check",
        "telemetry_matches_sessions",
        "sandbox_reset",
        "reward_drift",
        "cost_within_budget",
    ):
        evaluation = evaluate(instance, check)
        assert evaluation.passed, evaluation.description
        assert evaluation.severity == dg.AssetCheckSeverity.WARN
        assert metadata(evaluation, "compared") > 0
    report = evaluate(instance, "leakage_check")
    assert metadata(report, "sessions") == 2
    assert 0 < metadata(report, "derived") <= metadata(report, "recorded") == metadata(report, "read")

    # What the student heard was something else than what the file says: a request has another hash.
    before = paths.sessions.read_bytes()
    edit(paths.sessions, lambda lines: lines[0]["conversation_result"]["per_turn_results"][0].update(
        user_utterance="Something that nobody said."))  # fmt: skip
    found = evaluate(instance, "leakage_check")
    assert not found.passed
    assert "cannot be derived again: its message 2 was " in (found.description or "")
    assert ", and comes to 'Something that nobody said.'" in (found.description or "")

    # The teacher told the student what only the ground truth knows.
    secret = "Tell them: sesame-7431-secret."
    paths.sessions.write_bytes(before)
    edit(paths.tasks, lambda lines: lines[0]["conversation"]["turns"][0].update(expected_response={
        "text": "sesame-7431-secret", "answers": ["sesame-7431-secret"]}))  # fmt: skip
    edit(paths.sessions, lambda lines: lines[0]["steps"][0].update(guidance=[secret]))
    found = evaluate(instance, "leakage_check")
    assert not found.passed
    assert "'sesame-7431-secret', which only the ground truth has" in (found.description or "")
    paths.sessions.write_bytes(before)

    # A request that holds such a value, though no word of teacher or learner has it.
    asked = paths.requests.read_bytes()
    changed = gzip.decompress(asked).replace(b"You are a CRM assistant", b"Say sesame-7431-secret")
    paths.requests.write_bytes(gzip.compress(changed))
    found = evaluate(instance, "leakage_check", sessions=1)
    assert "'sesame-7431-secret', which only the ground truth has" in (found.description or "")
    assert "is not what the ledger has the hash of" in (found.description or "")

    # An older run, whose requests were not recorded.
    paths.requests.unlink()
    report = evaluate(instance, "leakage_check")
    assert report.passed
    assert 0 == metadata(report, "read") < metadata(report, "derived")
    paths.requests.write_bytes(asked)

    # A session that is in the file alone, and one that ended differently.
    edit(paths.sessions, lambda lines: lines[0].update(epoch=2))
    edit(paths.sessions, lambda lines: lines[1].update(status="failed"))
    found = evaluate(instance, "telemetry_matches_sessions")
    assert not found.passed
    assert "2 of 2 sessions" in (found.description or "")
    assert "(missing)" in (found.description or "")
    assert "(succeeded)" in (found.description or "")
    paths.sessions.write_bytes(before)

    # Rewards that are far from those before them.
    edit(paths.sessions, lambda lines: lines[0]["atlas_metadata"].update(drift_alert=True))
    assert "1 of 2 sessions" in (evaluate(instance, "reward_drift").description or "")
    assert evaluate(instance, "reward_drift", most=0.5).passed

    # A budget that it was over, and a configuration that is not the run's any more.
    assert "of a budget of 10." in (
        evaluate(instance, "cost_within_budget", budget_tokens=10).description or ""
    )
    config = project.configs / "crm_harness.dev.yaml"
    config.write_text(config.read_text().replace("max_retries: 1", "max_retries: 0"))
    changed = evaluate(instance, "leakage_check")
    assert not changed.passed
    assert "has changed since these sessions ran" in (changed.description or "")


def test_agents_that_ask_no_model_have_nothing_to_leak(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, LineageOptions(SessionPlan(agent="replay")))
    for check in ("leakage_check", "telemetry_matches_sessions"):
        assert metadata(evaluate(instance, check), "compared") == 0


def test_options_of_sessions_are_in_plan_json_and_for_older_ones_in_dagster_or_unknown(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, LineageOptions(SessionPlan(agent="replay")))
    with dg.DagsterInstance.ephemeral() as other:
        assert evaluate(other, "leakage_check").passed
        BaselinePaths.of(project, KEY).plan.unlink()
        assert evaluate(instance, "leakage_check").passed
        evaluation = evaluate(other, "leakage_check")
    assert not evaluation.passed
    assert "Dagster holds no run that made these sessions" in (evaluation.description or "")


def smoke(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(SMOKE_JOB).execute_in_process(
        instance=instance, partition_key=multi_partition(KEY), raise_on_error=False
    )


def test_the_smoke_job_runs_one_conversation_and_evaluates_the_checklist(
    instance: dg.DagsterInstance, project: Project, paths: BaselinePaths
) -> None:
    from crm_assets.defs.partitions import register

    register(instance, KEY)
    result = smoke(instance)
    assert result.success
    assert len(paths.sessions.read_bytes().splitlines()) == 1
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    for name in (*SMOKE_NAMES, "metrics_complete"):
        assert found[f"smoke_{name}"].passed, found[f"smoke_{name}"].description
        assert found[f"smoke_{name}"].description
    (entry,) = read_smoke_log(project)
    assert (
        smoke_log(project) == project.root / "data" / "smoke_log.jsonl"
    )  # not in artifacts/, which git ignores
    smoke_log(project).rename(project.baselines / "smoke_log.jsonl")  # where earlier versions kept it
    assert list(read_smoke_log(project)) == [entry]
    assert entry.passed
    assert {check.name for check in entry.checks} == SMOKE_NAMES.keys()


def test_a_smoke_run_that_misses_a_line_stops_before_the_metrics(
    instance: dg.DagsterInstance, project: Project, paths: BaselinePaths
) -> None:
    from crm_assets.defs.partitions import register

    config = project.configs / "crm_harness.dev.yaml"
    config.write_text(config.read_text().replace("forced_mode: paired", "forced_mode: auto"))
    register(instance, KEY)
    result = defs.resolve_job_def(SMOKE_JOB).execute_in_process(
        instance=instance,
        partition_key=multi_partition(KEY),
        run_config={"ops": {"atlas_tasks": {"config": {"limit": 1}}}},
        raise_on_error=False,
    )
    assert not result.success
    failed = {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}
    assert "smoke_execution_mode_paired" in failed
    assert paths.sessions.exists()
    assert not paths.metrics.exists()
    (entry,) = read_smoke_log(project)
    assert not entry.passed


def test_other_runs_say_nothing_of_the_smoke_checklist(
    instance: dg.DagsterInstance, project: Project
) -> None:
    from crm_assets.defs.partitions import register

    register(instance, KEY)
    job = defs.resolve_implicit_job_def_def_for_assets([dg.AssetKey("atlas_sessions")])
    assert job is not None
    materialize_on(
        instance,
        project,
        KEY,
        LineageOptions(SessionPlan(agent="replay")),
        stages=["dataset_revision", "atlas_tasks"],
    )
    result = job.execute_in_process(
        instance=instance,
        partition_key=multi_partition(KEY),
        asset_selection=[dg.AssetKey("atlas_sessions")],
        run_config={"ops": {"atlas_sessions": {"config": {"agent": "replay"}}}},
    )
    assert not [e for e in result.get_asset_check_evaluations() if e.check_name.startswith("smoke")]


def test_a_blocking_check_shows_its_sentence_on_the_command_line(
    instance: dg.DagsterInstance, project: Project
) -> None:
    options = LineageOptions(SessionPlan(mode="auto"), limit=1)
    with pytest.raises(CheckFailed, match="smoke_execution_mode_paired: The execution mode is auto"):
        materialize_on(instance, project, KEY, options, job=SMOKE_JOB)
