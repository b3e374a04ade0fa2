"""Every command's help, and the commands harness, datasets, doctor, partitions, db."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner

from crm_assets.cli import cli
from crm_assets.cli.doctor import diagnose
from crm_assets.cli.ui import port_is_free
from crm_assets.database import connect_databases
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run

_SUMMARY = 60  # characters that a list of commands has room for


def tree(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command of click's own tree, groups included."""
    yield path
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from tree(inner, (*path, name))


@pytest.mark.parametrize("path", [*tree()], ids=" ".join)
def test_every_command_says_what_it_does_and_what_its_options_are(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"])
    assert shown.exit_code == 0, shown.output
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert not command.get_short_help_str(_SUMMARY).endswith("..."), "its first sentence is cut off"
    for param in command.get_params(click.Context(command)):
        if isinstance(param, click.Option):
            assert param.opts[0] in shown.output
            assert param.help, f"{param.opts[0]} has no help"


def test_help_lists_every_command_without_loading_what_is_heavy() -> None:
    script = (
        "import sys\nfrom crm_assets.cli import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'dagster', 'pandas', 'psycopg', 'pydantic', 'rich', 'sqlalchemy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    for command in cli.commands:
        assert f"  {command} " in done.stdout


def test_harness_writes_a_result_for_each_conversation(run: Run, project: Project, tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    result = run("harness", "--dataset", project.dataset_file("small"), "--output", output)
    assert result.exit_code == 0, result.output
    lines = [orjson.loads(line) for line in output.read_bytes().splitlines()]
    assert len(lines) == 6
    assert all(line["overall_success"] for line in lines)
    assert "strict success" in result.stdout
    assert str(output) in result.stdout


def test_harness_refuses_to_mix_two_runs_unless_told(run: Run, project: Project, tmp_path: Path) -> None:
    start = ("harness", "--dataset", project.dataset_file("small"), "--output", tmp_path / "results.jsonl")
    assert run(*start, "--agent", "replay").exit_code == 0
    refused = run(*start, "--agent", "noop")
    assert refused.exit_code == 2
    assert "agent.name was" in refused.stderr
    assert run(*start, "--agent", "noop", "--overwrite").exit_code == 0


def test_harness_draws_a_sample(run: Run, project: Project, tmp_path: Path) -> None:
    def drawn(seed: int, name: str) -> list[str]:
        output = tmp_path / name
        options = ("--sample", 2, "--seed", seed, "--output", output)
        assert run("harness", "--dataset", project.dataset_file("small"), *options).exit_code == 0
        return [orjson.loads(line)["conversation_id"] for line in output.read_bytes().splitlines()]

    assert len(drawn(1, "a")) == 2
    assert drawn(1, "b") == drawn(1, "c")
    assert len({tuple(drawn(seed, f"s{seed}")) for seed in range(4)}) > 1


def test_harness_takes_the_calls_of_a_past_run(run: Run, project: Project, tmp_path: Path) -> None:
    dataset, past = project.dataset_file("small"), tmp_path / "past.jsonl"
    assert run("harness", "--dataset", dataset, "--output", past).exit_code == 0
    output = tmp_path / "again.jsonl"
    options = ("--agent", "recorded", "--recorded", past, "--output", output)
    assert run("harness", "--dataset", dataset, *options).exit_code == 0
    assert all(orjson.loads(line)["overall_success"] for line in output.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "gone.jsonl"], "gone.jsonl is not a file"),
        (["--dataset", "workspace.yaml"], "workspace.yaml:1: "),
        (["--dataset", "data/conversations/small.jsonl", "--agent", "recorded"], "--recorded"),
    ],
)
def test_harness_refuses_bad_input(run: Run, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    output = tmp_path / "results.jsonl"
    result = run("harness", *arguments, "--output", output)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert not output.exists()


def test_datasets_are_listed_with_their_baselines(run: Run, finish: Finish) -> None:
    before = run("datasets", "list")
    assert before.exit_code == 0
    assert "small" in before.stdout
    assert "–" in before.stdout
    finish("replay")
    assert KEY in run("datasets", "list").stdout


def test_no_dataset_is_told_as_such(run: Run, project: Project) -> None:
    project.dataset_file("small").unlink()
    assert "put a <name>.jsonl there" in run("datasets", "list").stdout


def test_an_audit_replays_the_ground_truth(run: Run, project: Project) -> None:
    result = run("datasets", "audit", project.dataset_file("small"))
    assert result.exit_code == 0, result.output
    assert "ground truth that does not replay" in result.stdout
    report = orjson.loads(run("datasets", "audit", "--json", project.dataset_file("small")).stdout)
    assert report["conversations"] == 6
    assert report["replayed"] is True
    assert report["ground_truth_failures"]["total"] == 0


def test_an_audit_fails_if_the_ground_truth_does_not_replay(run: Run, project: Project) -> None:
    file = project.dataset_file("small")
    documents = [orjson.loads(line) for line in file.read_bytes().splitlines() * 5]
    for number, document in enumerate(documents):
        document["conversation_id"] = f"c-{number:02d}"
        document["turns"][0]["expected_args"] = {"no_such_argument": number}
    documents[0]["turns"][0]["expected_respone"] = documents[0]["turns"][0].pop("expected_response", {})
    file.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in documents))
    result = run("datasets", "audit", file)
    assert result.exit_code == 1
    assert "The ground truth of 30 conversations does not replay" in result.stderr
    assert "--all" in result.stderr and "c-29: turn 1" not in result.stdout
    every = run("datasets", "audit", file, "--all")
    assert every.exit_code == 1 and "--all" not in every.stderr
    assert "- c-29: turn 1: " in every.stdout
    assert "did you mean expected_response?" in every.stdout.replace("\n", " ")
    report = run("datasets", "audit", file, "--all", "--json")
    assert report.exit_code == 1
    assert len(orjson.loads(report.stdout)["ground_truth_failures"]["examples"]) == 30


def test_an_audit_shows_brackets_as_they_are(run: Run, project: Project) -> None:
    file = project.dataset_file("small")
    document = orjson.loads(file.read_bytes().splitlines()[0])
    document["workflow_category"] = "[bold]Sales[/nothing]"
    file.write_bytes(orjson.dumps(document) + b"\n")
    result = run("datasets", "audit", file)
    assert result.exit_code == 0, result.output
    assert "[bold]Sales[/nothing]" in result.stdout


def test_generating_twice_gives_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        options = ("--count", 5, "--seed", 3, "--output", tmp_path / name)
        assert run("datasets", "generate", *options).exit_code == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len((tmp_path / "one").read_bytes().splitlines()) == 5
    assert run("datasets", "generate", "--count", 0, "--seed", 3, "--output", tmp_path / "x").exit_code == 2


def test_registered_partitions_are_known_to_dagster(run: Run, project: Project) -> None:
    result = run("partitions", "add", "--dataset", "small", "--run", "20260131T093000Z-a")
    assert result.stdout.strip() == "small|20260131T093000Z-a"
    BaselineKey.parse(run("partitions", "add", "--dataset", "small").stdout.strip())
    with open_instance(project) as instance:
        assert instance.get_dynamic_partitions("crm_dataset") == ["small"]
        assert "20260131T093000Z-a" in instance.get_dynamic_partitions("crm_run")


@pytest.mark.whole
def test_a_registered_partition_can_be_materialized_by_dagster_itself(run: Run, project: Project) -> None:
    partition = run("partitions", "add", "--dataset", "small", "--run", "20260131T093000Z").stdout.strip()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize", "-m", "crm_assets.definitions"),
            *("--select", "group:baseline", "--partition", partition),
        ],
        cwd=project.root,
        env={**os.environ, "DAGSTER_HOME": str(project.dagster_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (project.baselines / "small" / "20260131T093000Z" / "atlas" / "README.md").is_file()


def test_doctor_finds_nothing_broken_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "broken" not in result.stdout
    assert "OPENAI_API_KEY set" in result.stdout
    assert "secret" not in result.output
    assert "small (6)" in result.stdout


def test_doctor_starts_no_server_unless_told(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DB_HOST")
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "database: the embedded server is not running" in result.stdout
    assert "sandbox schema" not in result.stdout
    assert not project.state.exists()


def test_doctor_names_files_that_are_no_datasets_by_their_name(run: Run, project: Project) -> None:
    for name in ("My Data.jsonl", "old.JSONL", "notes.txt"):
        (project.conversations / name).write_text("")
    found = {item.what: item for item in diagnose(project)}["datasets"]
    assert found.state == "note"
    assert found.finding.startswith(
        "small (6); My Data.jsonl is left out: 'My Data' is not a dataset key: use"
    )
    assert found.finding.endswith("; old.JSONL is left out: its name must end in '.jsonl'")
    project.dataset_file("small").unlink()
    found = {item.what: item for item in diagnose(project)}["datasets"]
    assert (found.state, "My Data.jsonl is left out" in found.finding) == ("broken", True)


def test_doctor_knows_offline_mode(run: Run, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    keys = {item.what: item for item in diagnose(project)}["model keys"]
    assert keys.state == "note"
    monkeypatch.setenv("ATLAS_OFFLINE_MODE", "1")
    keys = {item.what: item for item in diagnose(project)}["model keys"]
    assert (keys.state, "offline" in keys.finding) == ("ok", True)


def test_doctor_tells_what_is_broken_a_line_each(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_databases(project)
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", "1")
    (project.root / "workspace.yaml").unlink()
    project.dataset_file("small").write_text("not json\n")
    result = run("doctor")
    assert result.exit_code == 1
    broken = {item.what: item.finding for item in diagnose(project) if item.state == "broken"}
    assert broken.keys() >= {"project", "database", "sandbox schema", "datasets"}
    assert "DB_HOST" in broken["database"]
    assert "workspace.yaml" in broken["project"]


def test_a_port_in_use_is_told_and_refused(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_is_free(port)
        result = run("ui", "--port", port)
    assert result.exit_code == 2
    assert f"Port {port} is in use" in result.stderr
    assert port_is_free(port)


def test_db_says_which_server_is_used(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "A server of your own" in run("db", "status").stdout
    monkeypatch.delenv("DB_HOST")
    monkeypatch.setenv("CRM_ASSETS_HOME", str(tmp_path))
    assert "is not running" in run("db", "status").stdout
    assert "is not running" in run("db", "stop").stdout
