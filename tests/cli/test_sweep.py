"""`crm-assets sweep`: its runs, that it goes on, and the backfill that the daemon is handed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import crm_assets.defs.assets.sessions as sessions_module
from crm_assets.atlas.sweep import SavedSweep, read_spec
from crm_assets.atlas.task_run import TaskRun
from crm_assets.definitions import defs
from crm_assets.defs.sweep import SWEEP_JOB, SweepConfig
from crm_assets.errors import InfrastructureError
from crm_assets.generator import write_dataset
from crm_assets.orchestration.backfills import submit
from crm_assets.orchestration.materialize import open_instance
from crm_assets.orchestration.sweep import LeftRuns, backfills_of, begin_sweep
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.project import Project

from .conftest import Run


@pytest.fixture
def file(project: Project) -> Path:
    path = project.root / "sweep.yaml"
    document = {"name": "trial", "datasets": ["small"], "agents": ["noop", "replay"], "limit": 2}
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_sweep_that_failed_goes_on_with_what_is_left(
    run: Run, project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = TaskRun.take, []

    def flaky(task_run: TaskRun, *given: Any) -> Any:
        assert isinstance(task_run.files, BaselinePaths)
        begun.append(task_run.files.key.run.label)
        if len(begun) == 1:
            raise InfrastructureError("The disk is full.")
        return real(task_run, *given)

    with monkeypatch.context() as patch:
        patch.setattr(TaskRun, "take", flaky)
        patch.setattr(sessions_module, "_PAUSE_SECONDS", 0.0)
        patch.setattr("crm_assets.orchestration.sweep._RETRIES", 0)
        failed = run("sweep", file, "--here")
        assert failed.exit_code == 3, failed.output
        key = failed.stderr.partition("Sweep ")[2].partition(":")[0]
        assert f"Go on with: crm-assets sweep --run {key}" in failed.stderr
        assert "1/2 small|" in failed.stdout and "The disk is full." in failed.stdout
        done = run("sweep", "--run", key, "--here")
    assert done.exit_code == 0, done.output
    assert f"Sweep {key}: 2 runs, 1 left" in done.stderr
    assert begun == ["trial-noop-1", "trial-replay-1", "trial-noop-1"]

    shown = run("sweep", "--run", key, "--json")
    assert "2 runs, 0 left" in shown.stderr
    rows = json.loads(shown.stdout)
    assert [(row["state"], row["strict_success"]) for row in rows] == [
        ("finished", "0.0%"),
        ("finished", "100.0%"),
    ]
    for row in rows:
        assert read_json(Path(row["path"]) / "plan.json")["sweep"] == key
        assert read_json(Path(row["path"]) / "metrics.json")["total_conversations"] == 2

    file.write_text(file.read_text().replace("limit: 2", "limit: 3"))
    other = run("sweep", file, "--run", key)
    assert other.exit_code == 2 and "is not what sweep" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Name the sweep's file"),
        (("gone.yaml",), "Cannot read the sweep gone.yaml"),
        (("--run", "20260131T093000Z-none"), "There is no sweep 20260131T093000Z-none"),
        (("--run", "yesterday"), "is not a run key"),
    ],
)
def test_what_is_no_sweep_is_refused(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    refused = run("sweep", *arguments)
    assert refused.exit_code == 2 and sentence in refused.stderr


def test_the_daemon_is_handed_one_backfill_over_all_datasets(project: Project, file: Path) -> None:
    for name in ("small", "other"):
        write_dataset(project.dataset_file(name), 2, seed=11)
    file.write_text(file.read_text().replace("- small", "- small\n- other"))
    planned = SavedSweep(run="20260131T093000Z-trial", spec=read_spec(file))
    begin_sweep(project, planned)
    (backfill,) = backfills_of(planned, LeftRuns(planned.runs(), []))
    with open_instance(project) as instance:
        asked = instance.get_backfill(submit(instance, project, backfill))
        assert asked is not None and asked.title == "4 runs of sweep 20260131T093000Z-trial"
        assert asked.asset_backfill_data is not None
        wanted = asked.asset_backfill_data.target_subset.iterate_asset_partitions()
        runs = {str(each.partition_key) for each in wanted}
        config = (asked.run_config or {})["ops"]
    assert config["atlas_tasks"]["config"]["as_planned"] is True
    assert config["atlas_sessions"]["config"]["as_planned"] is True
    assert runs == {str(each.key) for each in planned.runs()}
    for each in planned.runs():
        assert read_json(BaselinePaths.of(project, each.key).plan)["limit"] == 2


def test_the_job_says_what_is_wrong_with_a_file(project: Project) -> None:
    config = dg.RunConfig(ops={"plan_sweep": SweepConfig(file="gone.yaml", accept_cost=True)})
    with open_instance(project) as instance, pytest.raises(dg.Failure) as failure:
        defs.resolve_job_def(SWEEP_JOB).execute_in_process(instance=instance, run_config=config)
    assert "Cannot read the sweep gone.yaml" in (failure.value.description or "")
    on = SweepConfig(run="20260131T093000Z-x").words()
    assert on == ["sweep", "--run", "20260131T093000Z-x", "--detach"]
