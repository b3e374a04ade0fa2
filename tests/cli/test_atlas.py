"""`crm-assets atlas`: a task file through the loop, and the smoke run."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from crm_assets.atlas.smoke import smoke_log
from crm_assets.llm import ledger_totals
from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.baseline_files import finished_runs
from crm_assets.workspace.files import read_json
from crm_assets.workspace.project import Project

from .conftest import Run

KEY = "20260131T093000Z"


@pytest.fixture
def tasks(run: Run, project: Project) -> Path:
    """A baseline's task file."""
    assert run("tasks", "--dataset", "small", "--run", KEY).exit_code == 0
    return project.baselines / "small" / KEY / "atlas" / "tasks.jsonl"


def test_a_task_file_becomes_a_run_of_its_own(run: Run, project: Project, tasks: Path) -> None:
    output = project.root / "out"
    result = run(
        "atlas", "run", "--task-file", tasks, "--output-dir", output, "--limit", 2, "--concurrency", 2
    )
    assert result.exit_code == 0, result.output
    assert "small, agent atlas (offline/student, offline/teacher" in result.stderr
    assert "Strict success" in result.stdout
    assert sorted(file.name for file in output.iterdir()) == [
        "README.md", "ledger.jsonl", "metrics.json", "playbook.json", "report.html",
        "requests.jsonl.gz", "run.json", "sessions.jsonl", "tasks.jsonl",
    ]  # fmt: skip
    assert (output / "tasks.jsonl").read_bytes() == b"".join(
        tasks.read_bytes().splitlines(keepends=True)[:2]
    )
    metrics = read_json(output / "metrics.json")
    assert (metrics["total_conversations"], metrics["dataset"]) == (2, "small")
    assert metrics["execution_modes"] == {"paired": 2}
    calls = {role: spent.calls for role, spent in ledger_totals(output / "ledger.jsonl").items()}
    assert calls == {role: usage["calls"] for role, usage in metrics["token_usage"].items()}

    again = run("atlas", "run", "--task-file", tasks, "--output-dir", output)
    assert again.exit_code == 2
    assert "this run is finished" in again.stderr


def test_the_student_alone_has_no_loop_around_it(run: Run, project: Project, tasks: Path) -> None:
    output = project.root / "alone"
    result = run(
        "atlas", "run", "--task-file", tasks, "--output-dir", output, "--limit", 1, "--agent", "student"
    )
    assert result.exit_code == 0, result.output
    metrics = read_json(output / "metrics.json")
    assert set(metrics["token_usage"]) == {"student"}
    assert (metrics["loop"], metrics["execution_modes"]) == (None, {"harness": 1})


def test_a_smoke_run_is_checked_line_by_line_and_logged(run: Run, project: Project) -> None:
    result = run("atlas", "smoke", "--dataset", "small")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("ok ")]
    assert len(lines) == 9
    (paths,) = finished_runs(project, "small")
    assert paths.key.run.label == "smoke"
    log = smoke_log(project).read_bytes().splitlines()
    entry = orjson.loads(log[0])
    assert (entry["dataset"], entry["run"], entry["passed"]) == ("small", str(paths.key.run), True)
    assert entry["execution_mode"] == "paired"
    page = HistoryPaths.of(project, "small").page.read_text()
    row = page.split("## Smoke runs")[1]
    assert f"`{paths.key.run}`" in row and "8 of 8 passed" in row and "crm_harness.dev.yaml" in row


def test_a_smoke_run_that_fails_a_line_says_so_and_is_logged(run: Run, project: Project) -> None:
    result = run("atlas", "smoke", "--dataset", "small", "--mode", "auto")
    assert result.exit_code == 1
    assert "failed  execution_mode_paired: The execution mode is auto" in result.stdout
    entry = orjson.loads(smoke_log(project).read_bytes())
    (finished,) = finished_runs(project, "small")
    assert str(finished.key.run) == entry["run"]
    assert entry["passed"] is False
    listed = run("runs", "list", "--dataset", "small", "--smoke")
    assert "of 8 passed; failed:" in listed.stdout and "execution_mode_paired" in listed.stdout
    assert orjson.loads(run("runs", "list", "--dataset", "small", "--smoke", "--json").stdout) == [entry]
    assert "No smoke run yet" in run("runs", "list", "--dataset", "other", "--smoke").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--task-file", "gone.jsonl", "--output-dir", "o"], "Cannot read gone.jsonl"),
        (["run", "--task-file", "workspace.yaml", "--output-dir", "o"], "is not a task"),
        (["smoke", "--dataset", "nowhere"], "There is no dataset 'nowhere'"),
        (["smoke", "--dataset", "small", "--config", "workspace.yaml"], "is no key of a configuration"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, project: Project, arguments: list[str], sentence: str) -> None:
    result = run("atlas", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert not project.baselines.exists()
