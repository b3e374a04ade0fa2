"""Baselines of an earlier version: they open, verify and compare as they did then.

`tests/fixtures/baselines.tar.xz` holds a project with a dataset and four runs of it in version 1
of the session log: the Atlas loop, its student alone in two epochs, an import, an agent that does nothing.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from crm_assets.audit.recompute import differing_figures
from crm_assets.audit.verification import verify_baseline
from crm_assets.cli import cli
from crm_assets.records import SessionLog
from crm_assets.reporting import compute_metrics, read_metrics
from crm_assets.reporting.comparison import compare_baselines, read_facts
from crm_assets.reporting.models import RunInfo
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

ARCHIVE = Path(__file__).parent.parent / "fixtures" / "baselines.tar.xz"
ATLAS, STUDENT, IMPORT, NOOP = RUNS = (
    "20260101T000000Z-atlas",
    "20260102T000000Z-student",
    "20260103T000000Z-import",
    "20260104T000000Z-noop",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Project(folder)


def paths_of(project: Project, run: str) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("mini", run))


@pytest.mark.parametrize("run", RUNS)
def test_they_verify(project: Project, run: str) -> None:
    found = verify_baseline(project, paths_of(project, run), None)
    assert {check.file: check.problem for check in found.checks if check.problem} == {}
    checked = {(check.file, check.what) for check in found.checks}
    assert ("metrics.json", "every figure, from the sessions") in checked
    assert ("README.md", "hash as in manifest.json") in checked


@pytest.mark.parametrize("file", ["README.md", "sessions.jsonl", "run.json", "plots/failure_kinds.svg"])
def test_a_changed_byte_fails_them(tmp_path: Path, file: str) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    paths = paths_of(Project(tmp_path), NOOP)
    path = paths.folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert file in verify_baseline(Project(tmp_path), paths, None).failed_files


@pytest.mark.parametrize("run", RUNS)
def test_their_figures_are_what_they_were(project: Project, run: str) -> None:
    paths = paths_of(project, run)
    recorded = read_metrics(paths.metrics)
    again = compute_metrics(paths.sessions, run=RunInfo(software=recorded.software))
    assert differing_figures(paths.metrics, again, exactly=False) is None
    assert (recorded.total_conversations, recorded.total_sessions) == (
        again.total_conversations,
        again.total_sessions,
    )
    assert recorded.turns_right == recorded.strict_success
    assert again.turns_right == again.strict_success
    assert recorded.strict_success.value == again.strict_success.value
    assert recorded.strict_success_formula == again.strict_success_formula == "turns"
    assert recorded.state_match_floor is None


def test_a_figure_of_theirs_that_is_not_so_is_found(project: Project) -> None:
    paths = paths_of(project, STUDENT)
    again = compute_metrics(paths.sessions, run=RunInfo(software=read_metrics(paths.metrics).software))
    other = again.model_copy(update={"turns_executed": 1, "total_conversations": 1})
    assert "turns_executed is" in (differing_figures(paths.metrics, other, exactly=False) or "")


def test_their_header_is_gathered_from_their_sessions(project: Project) -> None:
    paths = paths_of(project, IMPORT)
    log, identity = SessionLog(paths.sessions), orjson.loads(paths.run.read_bytes())
    assert [entry.session.status for entry in log.summaries()] == [
        "succeeded",
        "succeeded",
        "not_recorded",
        "not_recorded",
    ]
    header = log.header
    assert (header.run_id, header.dataset) == (paths.key.run_id, "mini")
    assert (header.agent, header.code) == (identity["agent"], identity["code"])
    assert header.tasks_sha256 == identity["tasks_sha256"]
    assert header.imported is not None
    assert (header.imported.file, header.imported.format) == ("past.jsonl", "clbench")
    assert SessionLog(paths_of(project, STUDENT).sessions).header.epochs == 2


def test_their_sessions_are_read_whole(project: Project) -> None:
    sessions = list(SessionLog(paths_of(project, ATLAS).sessions).records())
    assert [session.conversation_result.overall_success for session in sessions] == [
        True,
        False,
        True,
        False,
    ]
    assert all(session.session_reward and session.events("validation") for session in sessions)
    (first, *_) = SessionLog(paths_of(project, IMPORT).sessions).records()
    assert first.atlas_metadata.imported is not None
    assert first.atlas_metadata.imported.recorded is not None
    assert first.atlas_metadata.imported.recorded.recorded_overall_success is True


def test_they_compare(project: Project) -> None:
    found = compare_baselines(paths_of(project, ATLAS), paths_of(project, NOOP), resamples=100)
    strict = next(measure for measure in found.measures if measure.measure == "strict_success")
    assert (found.conversations, strict.paired.worse, strict.paired.better) == (4, 2, 0)
    assert [flip.conversation_id for flip in found.flips if flip.strict_success == "lost"]
    assert all(flip.turns for flip in found.flips)
    changed = {change.fact for change in found.provenance}
    assert {"agent.name", "execution_mode", "config_path"} <= changed
    assert not any(fact.startswith("software.code") for fact in changed)
    assert read_facts(paths_of(project, ATLAS).sessions)["playbook_entries_at_start"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "mini", ATLAS], "4 of 4 sessions"),
        (["show", "mini", ATLAS, "crm-s11-000002"], "Turn 6"),
        (["show", "mini", IMPORT, "crm-s11-000000"], "past.jsonl"),
        (["show", "mini", STUDENT, "crm-s11-000000", "--epoch", "2"], "crm-student, offline/student"),
        (["runs", "list", "--dataset", "mini"], NOOP),
    ],
)
def test_they_are_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("CRM_ASSETS_HOME", str(project.root))
    monkeypatch.setenv("COLUMNS", "160")
    result: Any = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert said in result.output
