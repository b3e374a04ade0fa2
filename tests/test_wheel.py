"""The wheel, installed where there is no checkout, makes a project and a baseline in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_assets.cli import cli
from crm_assets.workspace.project import Project
from tests.projects import REPOSITORY
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.whole

FILES = {
    "configs/atlas/.env.example",
    "configs/atlas/crm_harness.dev.yaml",
    "configs/atlas/crm_harness.yaml",
    "dagster_home/dagster.yaml",
    "data/conversations/demo.jsonl",
    "data/conversations/dev.jsonl",
    "workspace.yaml",
}


def run(*words: object, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `crm-assets` of an environment with the wheel, and everything else from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    run(*build, folder=REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    uv = (sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps")
    run(*uv, "--python", python, wheel, folder=folder)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "venv" / "bin" / "crm-assets"


def test_the_wheel_makes_a_project_and_a_baseline_in_an_empty_folder(
    installed: Path, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CRM_ASSETS_HOME", "DAGSTER_HOME", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{installed.parent}{os.pathsep}{os.environ['PATH']}")
    run("crm-assets", "init", folder=tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == FILES
    baseline = ("crm-assets", "baseline", "--dataset", "dev", "--agent", "replay", "--limit", "1")
    assert "Strict success" in run(*baseline, folder=tmp_path)
    (readme,) = (tmp_path / "artifacts" / "baselines" / "dev").glob("*/atlas/README.md")
    assert readme.is_file()
    where = "import crm_assets; print(crm_assets.__file__)"
    assert str(installed.parent.parent) in run(installed.with_name("python"), "-c", where, folder=tmp_path)


def test_init_keeps_what_is_there_and_refuses_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "data" / "conversations" / "dev.jsonl"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(cli, ["init"])
    assert made.exit_code == 0, made.output
    assert set(made.stdout.split()) == FILES - {"data/conversations/dev.jsonl"}
    assert mine.read_text() == "mine"
    again = CliRunner().invoke(cli, ["init"])
    assert (again.exit_code, "is a project already" in again.stderr) == (2, True)
