"""Runs whose artifacts are in a real S3 server: over its outages, and over machines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import lay_out_project
from tests.seaweed import SECRET_KEY, Seaweed, seaweed
from tests.waiting import HANG_SECONDS, eventually

from .conftest import KEY, Run

URL = "s3://tests/cli"


def test_without_a_store_nothing_of_it_is_imported(run: Run) -> None:
    code = (
        "import sys\n"
        "from crm_assets.cli import cli\n"
        "cli(['runs', 'list', '--dataset', 'small'], standalone_mode=False)\n"
        "names = ('fsspec', 'crm_assets.workspace.store.')\n"
        "assert not [each for each in sys.modules if each.startswith(names)]"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, timeout=HANG_SECONDS
    )
    assert b"has no run yet" in listed.stdout


def test_an_unusable_place_is_refused_in_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, says in (
        ("s3://key:secret-word@bucket/x", "must be a folder, or a URL of bucket and folder alone"),
        ("s3:///x", "must be a folder, or a URL"),
        ("nowhere://bucket/x", "nowhere://bucket/x is of an unknown kind"),
    ):
        monkeypatch.setenv("CRM_ASSETS_ARTIFACTS", value)
        result = run("runs", "list", "--dataset", "small")
        assert result.exit_code == 2 and says in result.stderr, result.output
        assert "secret-word" not in result.output


def test_another_folder_is_used_as_it_is(
    run: Run, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / ".env").write_text(f"CRM_ASSETS_ARTIFACTS={tmp_path / 'shared'}\n")
    planned = run("runs", "new", "--dataset", "small", "--run", KEY)
    assert planned.exit_code == 0, planned.output
    assert (tmp_path / "shared" / "baselines" / "small" / KEY).is_dir()
    assert not (project.root / "artifacts").exists()


@pytest.fixture(scope="module")
def server() -> Iterator[Seaweed]:
    with seaweed() as running:
        yield running


@pytest.fixture
def stored(run: Run, server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    for name, value in {**server.environment, "CRM_ASSETS_ARTIFACTS": URL}.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.mark.whole
def test_a_run_goes_on_over_outages_and_machines(
    run: Run, project: Project, stored: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = BaselineKey.of("small", KEY)
    paths = BaselinePaths.of(Project(project.root), key)
    words = ("baseline", "--agent", "replay", "--dataset", "small", "--run", KEY)
    examined = run("doctor")
    assert f"artifacts: {URL} answers, can be written, and refuses a second writer" in examined.output

    # The store goes away in the middle of a run, for longer than it is waited for.
    command = [sys.executable, "-m", "crm_assets", *words, "--limit", "3"]
    monkeypatch.setenv("CRM_ASSETS_ARTIFACTS_OUTAGE_SECONDS", "0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert eventually(lambda: (paths.folder / "tasks.jsonl").exists() or process.poll() is not None)
    stored.kill()
    out, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 3 and "Traceback" not in out, out
    assert f"{URL} does not answer" in out, out
    assert f"Go on with: crm-assets baseline --dataset small --run {KEY}" in out, out
    assert SECRET_KEY not in out

    # For less: it is waited for.
    monkeypatch.delenv("CRM_ASSETS_ARTIFACTS_OUTAGE_SECONDS")
    stored.start()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert eventually(lambda: (paths.folder / "sessions.jsonl").exists() or process.poll() is not None)
    stored.kill()
    threading.Timer(1.0, stored.start).start()
    out, _ = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, out

    # Another machine has nothing but the store and the databases.
    other = Project(tmp_path / "other")
    lay_out_project(other)
    shutil.copy(project.dataset_file("small"), other.conversations)
    for name, root in (("CRM_ASSETS_HOME", other.root), ("DAGSTER_HOME", other.dagster_home)):
        monkeypatch.setenv(name, str(root))
    assert not other.artifacts.exists()
    (listed,) = json.loads(run("runs", "list", "--dataset", "small", "--json").stdout)
    assert (listed["run"], listed["state"], listed["command"]) == (KEY, "finished", None)
    assert run("show", "small", "latest").exit_code == 0
    verified = run("lineage", "small", KEY, "--verify")
    assert verified.exit_code == 0, verified.output
    assert "manifest.json: hash as Dagster recorded it" in verified.output
    again = run(*words)
    assert again.exit_code == 2 and "is finished and protected" in again.stderr

    # Where the files are is in Dagster; how to come to them is nowhere.
    with open_instance(other) as instance:
        events = [record for each in instance.get_runs() for record in instance.all_logs(each.run_id)]
    told = "".join(str(record) for record in events)
    assert f"{URL}/baselines/small/{KEY}/atlas/sessions.jsonl" in told
    files = [file for root in (project.root, other.root) for file in root.rglob("*") if file.is_file()]
    assert SECRET_KEY not in told
    assert not [file for file in files if SECRET_KEY.encode() in file.read_bytes()]


@pytest.mark.whole
def test_what_is_only_here_is_uploaded(
    run: Run, project: Project, stored: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_ASSETS_ARTIFACTS")
    assert run("runs", "new", "--dataset", "small", "--run", KEY).exit_code == 0
    tasks = BaselinePaths.of(Project(project.root), BaselineKey.of("small", KEY)).tasks
    tasks.parent.mkdir()
    tasks.write_text("{}\n")
    refused = run("runs", "upload", "small")
    assert refused.exit_code == 2 and "names no store to upload to" in refused.stderr
    monkeypatch.setenv("CRM_ASSETS_ARTIFACTS", f"{URL}-before")
    done = run("runs", "upload", "small")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{URL}-before/baselines/small/{KEY}: 1 file uploaded\n"
    again = run("runs", "upload", "small", KEY)
    assert again.stdout.endswith(": 0 files uploaded\n"), again.output
