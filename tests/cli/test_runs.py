"""`crm-assets runs` and `crm-assets backfill`."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

import crm_assets.defs.assets.sessions as sessions_module
from crm_assets.atlas.task_run import TaskRun
from crm_assets.errors import InfrastructureError
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import open_instance
from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run

ONE, TWO = KEY, "20260201T093000Z"
SMALL = ("--dataset", "small")
REPLAY = (*SMALL, "--agent", "replay")


def paths(project: Project, run: str) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("small", run))


def test_new_registers_keys_and_prints_them(run: Run, project: Project) -> None:
    result = run("runs", "new", *SMALL, "--label", "trial", "--count", 3)
    assert result.exit_code == 0, result.output
    keys = [BaselineKey.parse(line) for line in result.stdout.split()]
    assert len(set(keys)) == 3
    assert {key.run.label for key in keys} == {"trial"}
    with open_instance(project) as instance:
        assert set(instance.get_dynamic_partitions("crm_run")) == {str(key.run) for key in keys}
    listed = json.loads(run("runs", "list", *SMALL, "--json").stdout)
    assert {(each["run"], each["state"]) for each in listed} == {(str(key.run), "planned") for key in keys}


def test_new_plans_one_key_for_several_datasets(run: Run, project: Project) -> None:
    write_dataset(project.dataset_file("other"), 2, seed=3)
    both = run("runs", "new", "--dataset", "small,other")
    (a, b) = map(BaselineKey.parse, both.stdout.split())
    assert (a.dataset, b.dataset, a.run) == ("small", "other", b.run)
    named = run("runs", "new", *SMALL, "--run", ONE)
    assert named.stdout == f"small|{ONE}\n", named.output
    assert "excludes" in run("runs", "new", *SMALL, "--run", ONE, "--count", 2).stderr
    assert "There is no dataset 'more'" in run("runs", "new", "--dataset", "small,more").stderr
    failed = run("baseline", *SMALL, "--run", ONE, "--agent", "recorded", "--recorded", "none")
    assert failed.exit_code == 2
    assert paths(project, ONE).folder.parent.is_dir(), "still planned"


def test_list_knows_the_runs_of_a_dataset_whose_file_is_gone(run: Run, project: Project) -> None:
    assert run("tasks", *SMALL, "--run", ONE).exit_code == 0
    project.dataset_file("small").unlink()
    result = run("runs", "list", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert [each["run"] for each in json.loads(result.stdout)] == [ONE]
    result = run("runs", "list", "--dataset", "other")
    assert (result.exit_code, "There is no dataset 'other'" in result.stderr) == (2, True)


def test_list_says_how_far_runs_are_and_how_they_went(
    run: Run, finish: Finish, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no run yet" in run("runs", "list", *SMALL).stdout
    finish("replay")
    assert run("tasks", *SMALL, "--run", TWO).exit_code == 0
    paths(project, f"{TWO}-part").folder.mkdir(parents=True)
    paths(project, f"{TWO}-part").tasks.write_text("1\n2\n3\n")
    done, lost = ({"task_id": status, "status": status} for status in ("completed", "infrastructure_error"))
    paths(project, f"{TWO}-part").partial.write_text(f"{json.dumps(done)}\n{json.dumps(lost)}\n")
    paths(project, f"{TWO}-void").folder.mkdir(parents=True)
    (project.baselines / "small" / "notes").mkdir()
    found = {each["run"]: each for each in json.loads(run("runs", "list", *SMALL, "--json").stdout)}
    assert {name: each["state"] for name, each in found.items()} == {
        ONE: "finished",
        TWO: "tasks only",
        f"{TWO}-part": "under way, 1 of 3 sessions",
        f"{TWO}-void": "planned",
    }
    assert found[ONE]["command"] is None
    part = f"crm-assets baseline --dataset small --run {TWO}-part"
    assert found[f"{TWO}-part"]["command"] == part
    assert (found[ONE]["agent"], found[ONE]["strict_success"]) == ("replay", "100.0%")
    table = run("runs", "list", *SMALL).stdout
    assert "100.0%" in table
    assert f"Go on with: {part}\n" in table
    assert f"{TWO}-part" in table
    monkeypatch.setenv("COLUMNS", "80")
    assert f"{TWO}-part" in run("runs", "list", *SMALL).stdout, "a key is copied: it never wraps"
    paths(project, ONE).metrics.unlink()
    assert "not scored" in run("runs", "list", *SMALL).stdout


def test_backfill_makes_the_named_runs_here_when_no_daemon_runs(run: Run, project: Project) -> None:
    result = run("backfill", *REPLAY, "--runs", f"{ONE},{TWO}", "--limit", 2)
    assert result.exit_code == 0, result.output
    assert "daemon is not running" in result.stderr
    assert f"2/2 small|{TWO}: done" in result.stdout
    for name in (ONE, TWO):
        assert read_json(paths(project, name).metrics)["total_conversations"] == 2
    assert len(read_json(HistoryPaths.of(project, "small").document)["runs"]) == 2


def test_backfill_makes_new_runs(run: Run, project: Project) -> None:
    result = run("backfill", *REPLAY, "--new", 2, "--label", "x", "--limit", 1)
    assert result.exit_code == 0, result.output
    made = json.loads(run("runs", "list", *SMALL, "--json").stdout)
    assert [each["state"] for each in made] == ["finished", "finished"]
    assert all(each["run"].endswith("-x") for each in made)


def test_backfill_keeps_what_is_finished_and_goes_on_with_the_rest(
    run: Run, finish: Finish, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise InfrastructureError("The disk is full.")

    before = finish("replay").sessions.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(TaskRun, "take", broken)
        patch.setattr(sessions_module, "_PAUSE_SECONDS", 0.0)
        failed = run("backfill", *REPLAY, "--runs", f"{ONE},{TWO}")
    assert failed.exit_code == 3
    assert f"small|{ONE} is finished and is kept" in failed.stderr
    assert f"1/1 small|{TWO}: The disk is full." in failed.stdout
    (command,) = re.findall("Go on with: crm-assets (.*)", failed.stderr)
    assert f"--runs {TWO}" in command
    again = run(*shlex.split(command))
    assert again.exit_code == 0, again.output
    assert read_json(paths(project, TWO).metrics)["agent_config"]["name"] == "replay"
    assert paths(project, TWO).finished
    assert paths(project, ONE).sessions.read_bytes() == before
    assert "no unfinished run" in run("backfill", *REPLAY).stderr
    assert "All of these runs are finished" in run("backfill", *REPLAY, "--runs", ONE).stdout


def test_rescoring_makes_metrics_again_and_leaves_the_sessions(
    run: Run, finish: Finish, project: Project
) -> None:
    finished = finish("replay")
    sessions = finished.sessions.read_bytes()
    finished.metrics.unlink()
    result = run("backfill", *SMALL, "--rescore")
    assert result.exit_code == 0, result.output
    assert finished.metrics.is_file()
    assert finished.sessions.read_bytes() == sessions


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--runs", ONE, "--new", "2"], "not both"),
        (["--runs", "yesterday"], "is not a run key"),
        (["--resume", "--overwrite", "--runs", ONE], "give one"),
        (["--rescore"], "no finished run"),
        (["--new", "1", "--label", "No Label"], "is not a run key"),
        (["--new", "1", "--agent", "recorded"], "--recorded"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_nothing(
    run: Run, project: Project, arguments: list[str], sentence: str
) -> None:
    result = run("backfill", *SMALL, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not project.baselines.exists()
