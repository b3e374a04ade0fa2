"""`crm-assets lineage`, on baselines that the lineage made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crm_assets.audit import write_manifest
from crm_assets.cli import cli
from crm_assets.cli.lineage import lineage
from crm_assets.generator import write_dataset
from crm_assets.reporting import page_code
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import lay_out_project

from .conftest import KEY, Finish, Run


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.commands, "lineage", lineage)


def sealed(paths: BaselinePaths) -> BaselinePaths:
    """Seal a baseline as it is."""
    write_manifest(paths, written_by=page_code())
    return paths


def test_an_atlas_run_says_where_all_of_it_came_from(run: Run, project: Project) -> None:
    made = run("baseline", "--dataset", "small", "--run", KEY, "--limit", 2)
    assert made.exit_code == 0, made.output
    paths = sealed(BaselinePaths.of(project, BaselineKey.of("small", KEY)))
    result = run("lineage", "small", KEY, "--verify", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["baseline"] == f"small|{KEY}"
    assert found["dataset"]["sha256"] == sha256_of_file(project.dataset_file("small"))
    assert found["models"]["student"] == "offline/student"
    assert set(found["prompts"]) >= {"student", "teacher", "judge", "learner"}
    assert found["config_path"] == "configs/atlas/crm_harness.dev.yaml"
    assert {"python", "postgres", "psycopg"} <= set(found["software"])
    assert found["problems"] == []
    (dagster_run,) = found["dagster"]["runs"]
    assert dagster_run["status"] == "SUCCESS"
    stored = {each["asset"]: each for each in found["dagster"]["materializations"]}
    assert stored["atlas_sessions"]["run_id"] == dagster_run["run_id"]
    assert stored["atlas_sessions"]["sha256"] == sha256_of_file(paths.sessions)
    assert len(found["telemetry_sessions"]) == 2
    assert {each["name"]: each["sha256"] for each in found["files"]}["ledger.jsonl"] == sha256_of_file(
        paths.ledger
    )
    assert all(check["problem"] is None for check in found["verification"]["checks"])

    shown = run("lineage", "small", KEY)
    assert shown.exit_code == 0, shown.output
    assert dagster_run["run_id"] in shown.stdout
    assert "Verified" not in shown.stdout


def test_a_changed_byte_fails_it_and_the_sentence_names_the_file(
    run: Run, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sealed(finish("replay"))
    monkeypatch.setenv("COLUMNS", "80")
    assert run("lineage", "small", KEY, "--verify").exit_code == 0
    paths.readme.write_bytes(paths.readme.read_bytes().replace(b"6 of 6", b"5 of 6", 1))
    result = run("lineage", "small", KEY, "--verify")
    assert result.exit_code == 1
    assert f"Error: Baseline small|{KEY} does not verify: README.md;" in result.stderr
    assert "✗ README.md: every line, from the sessions" in result.stdout
    assert "Traceback" not in result.output
    assert max(map(len, result.stdout.splitlines())) <= 80

    paths.sessions.write_bytes(b"\xff" + paths.sessions.read_bytes())
    broken = run("lineage", "small", KEY, "--verify", "--json")
    assert broken.exit_code == 1
    document = json.loads(broken.stdout)
    assert document["agent"] == {}
    assert "not a session" in document["problems"][0]
    assert "sessions.jsonl" in broken.stderr


def test_a_storage_that_does_not_answer_is_said_and_fails_nothing(
    run: Run, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(finish("replay"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/dagster")
    result = run("lineage", "small", KEY, "--verify")
    assert result.exit_code == 0, result.output
    assert "The database of Dagster's storage does not answer" in result.stdout
    assert "the hashes in it could not be checked" in result.stdout


def test_a_run_that_is_not_there_names_those_that_are(run: Run, finish: Finish) -> None:
    finish("replay")
    result = run("lineage", "small", "20260201T000000Z")
    assert result.exit_code == 2
    assert f"choose one of {KEY}" in result.stderr
    assert run("lineage", "small", "yesterday").exit_code == 2


def test_another_project_with_the_same_run_in_one_database_changes_nothing(
    run: Run, finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish("replay").folder
    other = Project(tmp_path)
    lay_out_project(other)
    write_dataset(other.dataset_file("small"), 2, seed=12)

    def verified() -> dict[str, Any]:
        found = run("lineage", "small", KEY, "--verify", "--json")
        assert found.exit_code == 0, found.output
        records: dict[str, Any] = json.loads(found.stdout)["dagster"]
        assert len(records["runs"]) == 1
        return records

    before = verified()
    with monkeypatch.context() as patch:
        patch.chdir(other.root)
        patch.setenv("CRM_ASSETS_HOME", str(other.root))
        patch.setenv("DAGSTER_HOME", str(other.dagster_home))
        made = run("baseline", "--agent", "noop", "--dataset", "small", "--run", KEY)
        assert made.exit_code == 0, made.output
        theirs = verified()
    assert verified() == before
    assert theirs["runs"] != before["runs"]
    header = json.loads((first / "run.json").read_bytes())
    assert header["project"] == json.loads((first.parents[3] / "project.json").read_bytes())["project"]


def test_a_ledger_or_report_with_a_manifest_to_fit_does_not_verify(run: Run, finish: Finish) -> None:
    paths = finish("replay")
    paths.report.write_text("<p>All of them right.</p>")
    sealed(paths)
    result = run("lineage", "small", KEY, "--verify")
    assert result.exit_code == 1
    assert "does not verify: manifest.json, report.html" in result.stderr
