"""`crm-assets baseline` and `crm-assets tasks`."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.task_run import TaskRun
from crm_assets.errors import InfrastructureError
from crm_assets.llm import ModelClient, ModelError, RetryPolicy
from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.baseline_files import finished_runs
from crm_assets.workspace.files import read_json
from crm_assets.workspace.project import Project
from tests.engine.ctrl_c import TO_THE_PROCESS, program

from .conftest import KEY, Finish, Run


def folder(project: Project, run: str = KEY) -> Path:
    return project.baselines / "small" / run / "atlas"


def test_a_baseline_ends_in_a_table_a_readme_and_the_way_to_the_ui(run: Run, project: Project) -> None:
    result = run("baseline", "--agent", "replay", "--dataset", "small")
    assert result.exit_code == 0, result.output
    (paths,) = finished_runs(project, "small")
    assert "Strict success" in result.stdout
    assert "6 of 6" in result.stdout
    assert f"README: {paths.readme.relative_to(project.root)}" in result.stdout
    history = HistoryPaths.of(project, paths.key.dataset).page
    assert history.is_file()
    assert f"History: {history.relative_to(project.root)}" in result.stdout
    assert "make ui" in result.stdout
    assert re.search(r"http://127\.0\.0\.1:3000/runs/[0-9a-f-]{36}", result.stdout)
    assert "dagster - DEBUG" not in result.output
    for stage in ("dataset_revision", "atlas_tasks", "atlas_sessions", "baseline_metrics"):
        assert f"  {stage}: " in result.stderr


def test_options_reach_the_run(run: Run, project: Project) -> None:
    result = run("baseline", "--dataset", "small", "--run", f"{KEY}-noop", "--agent", "noop", "--limit", 3)
    assert result.exit_code == 0, result.output
    metrics = read_json(folder(project, f"{KEY}-noop") / "metrics.json")
    assert metrics["agent_config"]["name"] == "noop"
    assert (metrics["total_conversations"], metrics["harness_successes"]) == (3, 0)


def test_a_finished_run_is_refused_without_overwrite(run: Run, finish: Finish, project: Project) -> None:
    finish("replay")
    again = run("baseline", "--dataset", "small", "--run", KEY, "--agent", "noop")
    assert again.exit_code == 2
    assert "is finished and protected" in again.stderr
    assert read_json(folder(project) / "metrics.json")["agent_config"]["name"] == "replay"
    tasks = run("tasks", "--dataset", "small", "--run", KEY)
    assert tasks.exit_code == 2
    forced = run("baseline", "--dataset", "small", "--run", KEY, "--agent", "noop", "--overwrite")
    assert forced.exit_code == 0, forced.output
    assert read_json(folder(project) / "metrics.json")["agent_config"]["name"] == "noop"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "nowhere"], "There is no dataset 'nowhere'"),
        (["--dataset", "nowhere"], "available: small"),
        (["--dataset", "sm|all"], "is not a dataset key"),
        (["--dataset", "../small"], "is not a dataset key"),
        (["--dataset", "small", "--run", "today"], "is not a run key"),
        (["--dataset", "small", "--run", f"{KEY}|x"], "is not a run key"),
        (["--dataset", "small", "--run", "20260231T093000Z"], "no such time"),
        (["--dataset", "small", "--agent", "recorded"], "--recorded"),
        (["--dataset", "small", "--agent", "recorded", "--recorded", "gone.jsonl"], "is not a file"),
        (
            ["--dataset", "small", "--recorded", "workspace.yaml"],
            "recorded has no effect with agent 'atlas'",
        ),
        (
            ["--dataset", "small", "--agent", "replay", "--learning", "on"],
            "learning has no effect with agent 'replay'",
        ),
        (["--dataset", "small", "--workers", "2"], "workers has no effect with agent 'atlas'"),
        (["--dataset", "small", "--config", "gone.yaml"], "Cannot read the configuration"),
        (["--dataset", "small", "--student", "gpt"], "wants provider/model"),
        (["--dataset", "small", "--replay", KEY], "There is no ledger"),
        (["--dataset", "small", "--resume"], "--resume needs the --run"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_nothing(
    run: Run, project: Project, arguments: list[str], sentence: str
) -> None:
    result = run("baseline", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert not project.baselines.exists()


def test_a_malformed_dataset_is_told_line_by_line_and_leaves_no_run(run: Run, project: Project) -> None:
    with project.dataset_file("small").open("ab") as handle:
        handle.write(b'{"conversation_id": 7}\nnot json\n')
    result = run("baseline", "--agent", "replay", "--dataset", "small")
    assert result.exit_code == 2
    assert "small.jsonl:7: " in result.stderr
    assert "small.jsonl:8: " in result.stderr
    assert "Traceback" not in result.output
    assert list((project.baselines / "small").iterdir()) == []


def test_a_failure_of_the_infrastructure_exits_with_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise InfrastructureError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(TaskRun, "take", broken)
        result = run("baseline", "--agent", "replay", "--dataset", "small")
    assert result.exit_code == 3
    assert "Error: The disk is full." in result.stderr
    assert "Traceback" not in result.output


def test_a_bug_is_shown_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(TaskRun, "take", buggy)
        result = run("baseline", "--agent", "replay", "--dataset", "small")
    assert isinstance(result.exception, ZeroDivisionError)


def test_tasks_stops_before_the_sessions_and_baseline_goes_on(run: Run, project: Project) -> None:
    result = run("tasks", "--dataset", "small", "--run", KEY, "--limit", 2)
    assert result.exit_code == 0, result.output
    assert f"Tasks: artifacts/baselines/small/{KEY}/atlas/tasks.jsonl" in result.stdout
    assert sorted(file.name for file in folder(project).iterdir()) == [
        "plan.json",
        "revision.json",
        "tasks.jsonl",
    ]
    task = orjson.loads((folder(project) / "tasks.jsonl").read_bytes().splitlines()[0])
    small = ("--agent", "replay", "--dataset", "small")
    assert run("baseline", *small, "--run", KEY).exit_code == 0, "it has its limit"
    again = orjson.loads((folder(project) / "tasks.jsonl").read_bytes().splitlines()[0])
    assert again == task, "the same run has the same tasks"


def test_ctrl_c_exits_130_and_names_the_command_that_goes_on(project: Project, run: Run) -> None:
    assert run("datasets", "generate", "--count", 40, "--seed", 1, "--output", project.dataset_file("big"))
    big = ("baseline", "--agent", "replay", "--dataset", "big", "--run", KEY, "--overwrite")
    command = [sys.executable, "-c", program(TO_THE_PROCESS), *big]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Stopped." in done.stderr
    assert "Traceback" not in done.stderr
    partial = project.baselines / "big" / KEY / "atlas" / "sessions.jsonl.partial"
    files = {file.name for file in partial.parent.iterdir()}
    assert "sessions.jsonl" not in files
    assert 0 < len(partial.read_bytes().splitlines()) < 40

    (command,) = re.findall("Go on with: crm-assets (.*)", done.stderr)
    result = run(*shlex.split(command))
    assert result.exit_code == 0, result.output
    assert read_json(partial.parent / "metrics.json")["agent_config"]["name"] == "replay"
    assert read_json(partial.parent / "metrics.json")["total_conversations"] == 40


SMALL = ("baseline", "--agent", "replay", "--dataset", "small")


@pytest.mark.parametrize(
    "stopped_at",
    [
        ("baseline_metrics", "compute_metrics", "not scored"),
        ("baseline_readme", "write_manifest", "not published"),
    ],
)
def test_a_baseline_that_stops_between_stages_goes_on_by_the_command_it_names(
    run: Run,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stopped_at: tuple[str, str, str],
) -> None:
    stage, function, state = stopped_at

    def full(*_: Any, **__: Any) -> None:
        raise InfrastructureError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(import_module(f"crm_assets.defs.assets.{stage}"), function, full)
        failed = run(*SMALL, "--limit", 2)
    assert failed.exit_code == 3
    (folder,) = (project.baselines / "small").glob("2*/atlas")
    sessions = (folder / "sessions.jsonl").read_bytes()
    (listed,) = json.loads(run("runs", "list", "--dataset", "small", "--json").stdout)
    assert listed["state"] == state
    assert f"Go on with: {listed['command']}\n" in failed.stderr
    other = run(*shlex.split(listed["command"])[1:], "--agent", "noop")
    assert (other.exit_code, "agent was replay and is now noop" in other.stderr) == (2, True)

    done = run(*shlex.split(listed["command"])[1:])
    assert done.exit_code == 0, done.output
    assert "smoke" not in caplog.text  # Dagster tells of checks that are selected and give no result
    assert read_json(folder / "manifest.json")["baseline"] == f"small|{folder.parent.name}"
    assert read_json(folder / "metrics.json")["total_conversations"] == 2
    assert (folder / "sessions.jsonl").read_bytes() == sessions
    verified = run("lineage", "small", folder.parent.name, "--verify")
    assert verified.exit_code == 0, verified.output


@pytest.mark.parametrize("stopped_at", ["write_tasks", "open_run"])
def test_a_run_that_stops_before_its_sessions_keeps_its_options(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch, stopped_at: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise InfrastructureError("The disk is full.")

    module = "tasks" if stopped_at == "write_tasks" else "sessions"
    with monkeypatch.context() as patch:
        patch.setattr(import_module(f"crm_assets.defs.assets.{module}"), stopped_at, full)
        assert run(*SMALL, "--run", KEY, "--limit", 2).exit_code == 3
    (listed,) = json.loads(run("runs", "list", "--dataset", "small", "--json").stdout)
    done = run(*shlex.split(listed["command"])[1:])
    assert done.exit_code == 0, done.output
    metrics = read_json(folder(project) / "metrics.json")
    assert (metrics["agent_config"]["name"], metrics["total_conversations"]) == ("replay", 2)


def test_overwriting_keeps_what_it_replaces_and_restore_brings_it_back(
    run: Run, finish: Finish, project: Project
) -> None:
    before = {file.name: file.read_bytes() for file in finish("replay").folder.iterdir() if file.is_file()}
    forced = run(
        "baseline", "--dataset", "small", "--run", KEY, "--agent", "noop", "--overwrite", "--limit", 1
    )
    assert forced.exit_code == 0, forced.output
    assert read_json(folder(project) / "metrics.json")["agent_config"]["name"] == "noop"
    restored = run("runs", "restore", "small", KEY)
    assert restored.exit_code == 0, restored.output
    now = {file.name: file.read_bytes() for file in folder(project).iterdir() if file.is_file()}
    assert now == before
    for stranger in (".hidden", "extra.txt"):
        (folder(project) / stranger).write_text("x")
    verified = run("lineage", "small", KEY, "--verify")
    assert verified.exit_code == 0, verified.output
    assert ".hidden is hidden or unfinished" in verified.stdout
    assert "extra.txt is not in manifest.json" in verified.stdout


def test_a_model_server_that_is_down_leaves_the_sessions_to_be_run(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise ModelError("nobody listens")

    student = ("baseline", "--dataset", "small", "--agent", "student", "--limit", 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            "crm_assets.atlas.model_run.ModelClient",
            lambda *a, **k: ModelClient(*a, **k, retries=RetryPolicy(attempts=2, base_seconds=0.001)),
        )
        patch.setattr("crm_assets.offline_models.answer_request", down)
        failed = run(*student)
    assert failed.exit_code == 3, failed.output
    assert "2 of 2 sessions have no verdict" in failed.stderr
    (command,) = re.findall("Go on with: crm-assets (.*)", failed.stderr)
    done = run(*shlex.split(command))
    assert done.exit_code == 0, done.output
