"""`crm-assets runs import`, on CL-Bench's recorded runs and on a run of our own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from crm_assets.cli import cli
from crm_assets.cli.compare import compare
from crm_assets.cli.import_run import import_command
from crm_assets.cli.lineage import lineage
from crm_assets.cli.show import show
from crm_assets.errors import InfrastructureError
from crm_assets.imports import importing
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import RunState, status_of

from .conftest import KEY, Finish, Run

IMPORT = "import-for-tests"  # the command by itself; which group it hangs in is another matter


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, command in (
        (IMPORT, import_command),
        ("lineage", lineage),
        ("show", show),
        ("compare", compare),
    ):
        monkeypatch.setitem(cli.commands, name, command)


def sessions_of(paths: BaselinePaths) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in paths.sessions.read_bytes().splitlines()]


def take(corpus: Path, project: Project, name: str) -> None:
    target = project.dataset_file(name)
    shutil.copyfile(corpus / f"{name}.jsonl", target)


@pytest.fixture
def past(finish: Finish, tmp_path: Path) -> Path:
    """The sessions of the ground truth over `small`, as a file from elsewhere."""
    return Path(shutil.copyfile(finish("replay").sessions, tmp_path / "past.jsonl"))


def test_claude_on_its_chains(run: Run, project: Project, corpus: Path) -> None:
    dataset, file = "clbench_chains_enriched", corpus / "clbench_recorded_claude.jsonl"
    take(corpus, project, dataset)
    result = run(IMPORT, file, "--dataset", dataset, "--run", KEY, "--label", "claude")
    assert result.exit_code == 0, result.output
    assert "Scored again: 32 conversations of 56 lines." in result.stdout
    assert "Not recorded: 24 never started." in result.stdout
    # The table of docs/recorded_runs.md.
    pairs = "right / right 2, right / wrong 68, wrong / right 5, wrong / wrong 126"
    assert f"tool success: {pairs}" in result.stdout
    assert "turn success: wrong / right 7, wrong / wrong 194" in result.stdout

    paths = BaselinePaths.of(project, BaselineKey.of(dataset, f"{KEY}-claude"))
    assert (paths.folder / "imported.jsonl").read_bytes() == file.read_bytes()
    sessions = sessions_of(paths)
    assert [each["status"] for each in sessions].count("not_recorded") == 24
    session = next(each for each in sessions if each["conversation_id"].endswith("-0086"))
    imported = session["atlas_metadata"]["imported"]
    assert (imported["file"], imported["format"]) == ("clbench_recorded_claude.jsonl", "clbench")
    assert imported["model"] == "claude-sonnet-4-5-20250929"
    theirs, ours = imported["recorded_turns"][1], session["conversation_result"]["per_turn_results"][1]
    assert (theirs["recorded_tool_success"], ours["tool_success"]) == (False, True)
    assert theirs["recorded_verification"] == "llm_judge"

    metrics = read_json(paths.metrics)
    assert metrics["agent_config"]["imported"]["file"] == "clbench_recorded_claude.jsonl"
    assert metrics["execution_modes"] == {"imported": 56}
    assert "imported" in paths.readme.read_text()

    verified = run("lineage", dataset, f"{KEY}-claude", "--verify", "--json")
    assert verified.exit_code == 0, verified.output
    document = json.loads(verified.stdout)
    assert document["imported"]["format"] == "clbench"
    assert document["problems"] == []
    shown = run("show", dataset, f"{KEY}-claude", "CHAIN-EVAL-20251107T134304Z-0086")
    assert "recorded  ✗ llm_judge (call ✗, reply ✗); judge 0.5" in shown.stdout


def test_what_file_and_dataset_do_not_share_is_counted(run: Run, project: Project, corpus: Path) -> None:
    take(corpus, project, "clbench_eval")
    file = corpus / "clbench_recorded_gpt41.jsonl"
    result = run(IMPORT, file, "--dataset", "clbench_eval", "--run", KEY)
    assert result.exit_code == 0, result.output
    assert "Scored again: 1 conversation of 5 lines." in result.stdout
    assert "Not recorded: 199 of the dataset that are not in the file." in result.stdout
    assert "Left out: 4 of the file, not in the dataset (such as SKEL-" in result.stdout
    paths = BaselinePaths.of(project, BaselineKey.of("clbench_eval", KEY))
    coverage = read_json(paths.folder / "import.json")["coverage"]
    assert (coverage["shared"], coverage["not_in_file"], coverage["not_in_dataset"]) == (1, 199, 4)
    metrics = read_json(paths.metrics)
    assert (metrics["total_conversations"], metrics["not_recorded_runs"]) == (200, 199)


def rewritten(past: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """The past run's file with its sessions changed."""
    sessions = [orjson.loads(line) for line in past.read_bytes().splitlines()]
    change(sessions)
    past.write_bytes(b"".join(orjson.dumps(session) + b"\n" for session in sessions))
    return past


def test_what_cannot_be_scored_is_counted_by_reason(run: Run, project: Project, past: Path) -> None:
    def change(sessions: list[dict[str, Any]]) -> None:
        sessions[0] |= {"conversation_result": None, "final_payload": {"error": "connection lost"}}
        sessions[1]["conversation_result"]["per_turn_results"][0]["user_utterance"] = "Another request."
        for turn in sessions[2]["conversation_result"]["per_turn_results"]:
            turn |= {"turn_id": str(turn["turn_id"]), "arguments": json.dumps(turn["arguments"])}
        sessions[3]["conversation_result"]["per_turn_results"][0]["arguments"] = "name: Acme"

    result = run(IMPORT, rewritten(past, change), "--dataset", "small", "--run", "20260201T000000Z")
    assert result.exit_code == 0, result.output
    assert "Scored again: 4 conversations of 6 lines." in result.stdout
    told = "1 ended in an error, 1 with other turns than the dataset's"
    assert f"Not recorded: {told}." in result.stdout
    assert "failed: connection lost" in result.stdout
    assert "is not the dataset's: the user says something else" in result.stdout
    assert "1 call whose arguments are text, but not a JSON object" in result.stdout
    paths = BaselinePaths.of(project, BaselineKey.of("small", "20260201T000000Z"))
    coverage = read_json(paths.coverage)["coverage"]
    assert coverage["not_scored"] == {"ended_in_error": 1, "other_turns": 1}
    assert coverage["unreadable_arguments"] == 1
    assert f"2 conversations ({told})" in paths.readme.read_text()
    sessions = sessions_of(paths)
    assert [each["status"] for each in sessions].count("not_recorded") == 2
    assert sessions[2]["conversation_result"]["overall_success"] is True


def test_a_file_of_another_dataset_under_the_same_ids_is_refused(
    run: Run, project: Project, past: Path
) -> None:
    def change(sessions: list[dict[str, Any]]) -> None:
        for session in sessions:
            session["conversation_result"]["per_turn_results"][0]["user_utterance"] = "Another request."

    result = run(IMPORT, rewritten(past, change), "--dataset", "small", "--run", "20260201T000000Z")
    assert result.exit_code == 2
    assert "was run on another dataset: Recorded turn 1 of conversation" in result.stderr
    assert not BaselinePaths.of(project, BaselineKey.of("small", "20260201T000000Z")).folder.exists()


def test_the_harness_says_why_conversations_are_not_scored(
    run: Run, project: Project, past: Path, tmp_path: Path
) -> None:
    def change(sessions: list[dict[str, Any]]) -> None:
        for turn in sessions[1]["conversation_result"]["per_turn_results"]:
            turn["expected_tool"] = "another_tool"
        del sessions[4:]

    file = rewritten(past, change)
    result = run(
        *("harness", "--dataset", project.dataset_file("small"), "--agent", "recorded", "--recorded", file),
        *("--output", tmp_path / "again.jsonl"),
    )
    assert result.exit_code == 0, result.output
    assert "Not recorded: 1 with other turns than the dataset's, 2 not in the file." in result.stdout
    assert "it expects another_tool, not " in result.stdout


def test_a_run_of_our_own_comes_back_as_it_was_and_compares(run: Run, project: Project, past: Path) -> None:
    result = run(IMPORT, past, "--dataset", "small", "--run", "20260201T000000Z-again")
    assert result.exit_code == 0, result.output
    assert "turns right: right / right 6" in result.stdout
    compared = run("compare", "small", KEY, "20260201T000000Z-again", "--json")
    assert compared.exit_code == 0, compared.output
    document = json.loads(compared.stdout)
    assert document["measures"][0]["paired"]["difference"] == 0.0
    changed = {each["fact"]: each["b"] for each in document["provenance"]}
    assert changed["agent.imported.file"] == "past.jsonl"
    assert changed["execution_mode"] == "imported"


def test_it_is_in_dagsters_history_with_what_the_sessions_are_now(
    run: Run, project: Project, past: Path
) -> None:
    key = BaselineKey.of("small", "20260201T000000Z")
    assert run(IMPORT, past, "--dataset", "small", "--run", key.run).exit_code == 0
    document = json.loads(run("lineage", "small", key.run, "--verify", "--json").stdout)
    assert document["verification"]["checks"]
    assert all(check["problem"] is None for check in document["verification"]["checks"])
    made = {each["asset"]: each for each in document["dagster"]["materializations"]}
    assert set(made) >= {"dataset_revision", "atlas_tasks", "atlas_sessions", "baseline_metrics"}
    assert made["atlas_sessions"]["run_id"] is None
    assert made["baseline_metrics"]["run_id"] in {each["run_id"] for each in document["dagster"]["runs"]}
    with open_instance(project) as instance:
        assert str(key.run) in instance.get_dynamic_partitions("crm_run")
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("atlas_sessions"), asset_partitions=[str(key)])
        latest = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert latest is not None
    assert latest.metadata["imported_file"].value == "past.jsonl"


def test_an_import_that_was_stopped_is_gone_on_with(
    run: Run, project: Project, past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (IMPORT, past, "--dataset", "small", "--run", "20260201T000000Z")

    def stopped(*_: Any) -> None:
        raise InfrastructureError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(importing, "mark_imported", stopped)
        failed = run(*arguments)
    assert failed.exit_code == 3
    paths = BaselinePaths.of(project, BaselineKey.of("small", "20260201T000000Z"))
    assert status_of(paths).state is RunState.NOT_SCORED
    (command,) = re.findall("Go on with: crm-assets (.*)", failed.stderr)
    assert command.split()[:3] == ["runs", "import", str(past)]
    rescored = run("backfill", "--dataset", "small", "--runs", "20260201T000000Z", "--rescore")
    assert "The import into small|20260201T000000Z has stopped; go on with" in rescored.output
    shutil.move(past, past.with_name("moved.jsonl"))
    result = run("baseline", "--dataset", "small", "--run", "20260201T000000Z")
    assert result.exit_code == 0, result.output
    shutil.move(past.with_name("moved.jsonl"), past)
    assert all(each["atlas_metadata"]["imported"]["file"] == "past.jsonl" for each in sessions_of(paths))
    again = run(*arguments)
    assert again.exit_code == 2
    assert "is finished and protected" in again.stderr


def test_what_cannot_be_imported_is_told_in_a_sentence_and_leaves_nothing(
    run: Run, project: Project, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"conversation_id": "elsewhere", "per_turn_results": []}\n')
    for arguments, sentence in (
        ([strange, "--dataset", "small"], "holds none of the 6 conversations"),
        ([tmp_path / "none.jsonl", "--dataset", "small"], "is not a file"),
        ([strange, "--dataset", "other"], "There is no dataset 'other'"),
        ([strange, "--dataset", "small", "--run", "yesterday"], "is not a run key"),
        ([strange, "--dataset", "small", "--run", f"{KEY}-a", "--label", "b"], "has a label already"),
    ):
        result = run(IMPORT, *arguments)
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert "Traceback" not in result.output
    assert not list(project.baselines.glob("small/*"))


def test_a_run_that_is_something_else_is_left_alone(run: Run, project: Project, past: Path) -> None:
    result = run(IMPORT, past, "--dataset", "small", "--run", KEY)
    assert result.exit_code == 2
    assert "is finished and protected" in result.stderr
    paths = BaselinePaths.of(project, BaselineKey.of("small", KEY))
    assert not (paths.folder / "imported.jsonl").exists()


def test_a_log_of_inspect_is_imported_with_its_calls_and_verdicts(
    run: Run, project: Project, finish: Finish, tmp_path: Path
) -> None:
    pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")
    ours = finish("replay")
    log = tmp_path / "elsewhere.eval"
    exported = run("export", "inspect", "small", KEY, "--output", log)
    assert exported.exit_code == 0, exported.output
    again = "20260201T093000Z"
    imported = run(IMPORT, log, "--dataset", "small", "--run", again)
    assert imported.exit_code == 0, imported.output
    assert "turns right: right / right 6" in imported.stdout
    paths = BaselinePaths.of(project, BaselineKey.of("small", again))
    summary = read_json(paths.coverage)
    assert (summary["file"], summary["format"], summary["model"]) == ("elsewhere.eval", "inspect", "replay")
    for theirs, mine in zip(sessions_of(paths), sessions_of(ours), strict=True):
        results = theirs["conversation_result"], mine["conversation_result"]
        assert results[0]["overall_success"] is results[1]["overall_success"] is True
        calls = [
            [(turn["tool_name"], turn["arguments"]) for turn in result["per_turn_results"]]
            for result in results
        ]
        assert calls[0] == calls[1]


def test_a_file_that_is_no_log_of_inspect_is_refused(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")
    (tmp_path / "broken.eval").write_bytes(b"PK not")
    refused = run(IMPORT, tmp_path / "broken.eval", "--dataset", "small")
    assert refused.exit_code == 2
    assert "is no log that Inspect can read" in refused.output
