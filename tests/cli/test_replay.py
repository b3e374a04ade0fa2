"""Runs that repeat another one: every place that shows them says so, and none counts them as measured."""

from __future__ import annotations

import json

import orjson
import pytest

from crm_assets.reporting import read_metrics
from crm_assets.reporting.comparison import Comparison, compare_baselines
from crm_assets.reporting.history import HistoryPaths, update_history
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

from .conftest import Run

FIRST, REPLAY, SECOND, AGAIN = (
    "20260131T093000Z",
    "20260201T093000Z",
    "20260202T093000Z",
    "20260203T093000Z-again",
)


def paths_of(project: Project, run: str) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("small", run))


@pytest.fixture
def replayed(run: Run, project: Project, snapshots: Snapshots) -> BaselinePaths:
    """The student's run `FIRST`, replayed as `REPLAY`, and `AGAIN` from the replay."""

    def make() -> None:
        student = ("baseline", "--dataset", "small", "--agent", "student", "--limit", 2)
        for each in (
            (*student, "--run", FIRST),
            (*student, "--run", REPLAY, "--replay", FIRST),
            (*student, "--run", AGAIN, "--replay", REPLAY),
        ):
            done = run(*each)
            assert done.exit_code == 0, done.output

    snapshots.bring(project, "replayed student", make)
    return paths_of(project, REPLAY)


def test_its_files_say_whose_replies_they_hold(replayed: BaselinePaths, project: Project) -> None:
    first = paths_of(project, FIRST)
    said = read_json(replayed.run)["replay_of"]
    assert (said["dataset"], said["run"]) == ("small", FIRST)
    assert said["file"] == first.ledger.relative_to(project.root).as_posix()
    assert read_json(first.run)["replay_of"] is None
    lines = [orjson.loads(line) for line in replayed.sessions.read_bytes().splitlines()]
    assert [line["atlas_metadata"]["replay_of"] for line in lines] == [FIRST, FIRST]
    readme = replayed.readme.read_text()
    assert f"**Replay** of `{FIRST}`" in readme
    assert "This run itself used and cost nothing" in replayed.report.read_text()
    assert "Replay" not in first.readme.read_text()
    # Of a replay of a replay, the run that asked the models.
    assert read_json(paths_of(project, AGAIN).run)["replay_of"] == said


def test_list_lineage_and_session_say_it(run: Run, replayed: BaselinePaths) -> None:
    listed = {
        each["run"]: each for each in json.loads(run("runs", "list", "--dataset", "small", "--json").stdout)
    }
    assert [listed[key]["repeats"] for key in (FIRST, REPLAY)] == [None, f"replay of {FIRST}"]
    assert f"replay of {FIRST}" in run("runs", "list", "--dataset", "small").stdout
    found = run("lineage", "small", REPLAY, "--json", "--verify")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["replay_of"]["run"] == FIRST
    assert "Replay of" in run("lineage", "small", REPLAY).stdout
    assert f"Replay of {FIRST}" in run("show", "small", REPLAY).stdout
    metrics = read_metrics(replayed.metrics)
    assert metrics.own_tokens == 0
    assert metrics.reported_tokens


def test_it_is_no_second_sample(run: Run, replayed: BaselinePaths, project: Project) -> None:
    first = paths_of(project, FIRST)
    found = compare_baselines(first, replayed, resamples=100)
    assert found.repetition
    assert found.repetition.startswith("B is a replay of A, so they are one sample")
    shown = run("compare", "small", FIRST, REPLAY).stdout
    assert "B is a replay of A" in shown
    assert "replay_of" in shown
    copies = compare_baselines(replayed, paths_of(project, AGAIN), resamples=100)
    assert str(copies.repetition).startswith(f"A and B repeat the same results (replay of {FIRST})")
    history, _, newest = update_history(project, "small")
    assert newest is None  # with one sample there is nothing to compare
    assert [each.run for each in history.samples] == [FIRST]
    page = HistoryPaths.of(project, "small").page.read_text()
    assert "2 of these runs repeat what another one measured" in page
    assert f"replay of {FIRST}" in page
    other = run("baseline", "--dataset", "small", "--agent", "noop", "--limit", 2, "--run", SECOND)
    assert other.exit_code == 0, other.output
    newest = update_history(project, "small").newest
    assert isinstance(newest, Comparison)
    assert (newest.a.run, newest.b.run, newest.repetition) == (FIRST, SECOND, None)


def test_our_own_results_imported_or_scored_again_are_no_sample_either(
    run: Run, replayed: BaselinePaths, project: Project
) -> None:
    first = paths_of(project, FIRST)
    for key, arguments in (
        ("20260204T093000Z", ("baseline", "--agent", "recorded", "--recorded", first.sessions)),
        ("20260205T093000Z", ("runs", "import", first.sessions)),
    ):
        made = run(*arguments, "--dataset", "small", "--run", key)
        assert made.exit_code == 0, made.output
        assert read_json(paths_of(project, key).run)["replay_of"]["run"] == FIRST
        assert compare_baselines(first, paths_of(project, key), resamples=100).repetition
    assert [each.run for each in update_history(project, "small").history.samples] == [FIRST]
