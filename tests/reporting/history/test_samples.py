"""Runs whose figures are not comparable are set apart; the newest is compared with its like."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from crm_assets.records import ReplayedRun
from crm_assets.reporting import RunInfo, compute_metrics, write_metrics
from crm_assets.reporting.comparison import Comparison
from crm_assets.reporting.history import read_history, render_history
from crm_assets.reporting.history.newest import compare_newest
from crm_assets.reporting.plots.progression import progression
from crm_assets.reporting.run_figures import RunFigures, samples_of
from crm_assets.reporting.run_list import list_runs
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from ..comparison.conftest import of_run, verdict
from ..conftest import Measure, Record, session

Make = Callable[..., None]


def runs(count: int, *, epochs: int = 1, **meta: object) -> list[Record]:
    """Sessions of `count` conversations, the first of which fails."""
    found = [verdict(f"c-{n}", n > 0, epoch=epoch) for n in range(count) for epoch in range(1, epochs + 1)]
    for record in found:
        record["atlas_metadata"] |= meta
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def make(project: Project) -> Make:
    """Makes a finished baseline of hand-made sessions."""

    def write(run: str, records: Sequence[Record], *, made: float | None = None) -> None:
        paths = BaselinePaths.of(project, BaselineKey.of("dev", run))
        paths.folder.mkdir(parents=True)
        paths.sessions.write_text("".join(json.dumps(of_run(run, record)) + "\n" for record in records))
        write_metrics(paths.metrics, compute_metrics(paths.sessions, run=RunInfo()))
        if made is not None:
            os.utime(paths.sessions, (made, made))

    return write


def test_runs_that_are_no_comparable_sample_are_set_apart(project: Project, make: Make) -> None:
    make("20260101T000000Z", runs(6))
    make("20260102T000000Z", runs(1))
    make("20260103T000000Z", runs(6, epochs=2))
    make("20260104T000000Z", runs(6, dataset_revision="0a" * 32))
    make("20260105T000000Z", runs(6))
    found = list_runs(project, "dev")
    assert [(run.sample, run.conversations) for run in found] == [
        ("A", "6"), ("D", "1"), ("C", "6 × 2"), ("B", "6"), ("A", "6"),
    ]  # fmt: skip
    page = render_history(read_history(project, "dev"))
    assert "- B: another revision of the dataset." in page
    assert "- C: 2 epochs instead of 1 epoch." in page
    assert "- D: 1 conversation instead of 6 conversations." in page
    assert "| 6 × 2 |" in " ".join(page.split())


def test_a_replay_is_no_sample_of_its_own(measure: Measure) -> None:
    replayed = ReplayedRun(dataset="dev", run="20260101T000000Z", file="a/ledger.jsonl", sha256="ab" * 32)
    own, replay = (RunFigures.of(measure(session(), run=RunInfo(replay_of=of))) for of in (None, replayed))
    assert list(samples_of([own, replay]).values()) == ["A", "B"]
    assert own.sample.differences(replay.sample) == (
        "a replay of dev|20260101T000000Z instead of a run of its own"
    )


def test_runs_of_one_sample_need_no_explanation(project: Project, make: Make) -> None:
    make("20260101T000000Z", runs(6))
    make("20260102T000000Z", runs(6))
    assert "Only runs of one sample" not in render_history(read_history(project, "dev"))


def test_the_newest_is_compared_with_the_last_of_its_sample(project: Project, make: Make) -> None:
    make("20260101T000000Z", runs(6))
    make("20260102T000000Z", runs(1))
    only = compare_newest(project, read_history(project, "dev"))
    assert isinstance(only, str)
    assert "not compared with 20260101T000000Z, the run before: 1 conversation instead of 6" in only
    make("20260103T000000Z", runs(6))
    newest = compare_newest(project, read_history(project, "dev"))
    assert isinstance(newest, Comparison)
    assert (newest.a.run, newest.b.run) == ("20260101T000000Z", "20260103T000000Z")


def test_a_key_in_the_future_does_not_stay_the_newest(project: Project, make: Make) -> None:
    make("29990101T000000Z", runs(6), made=1_767_300_000)  # on 1 January 2026
    make("20260103T000000Z", runs(6))
    assert [run.run for run in read_history(project, "dev").runs] == [
        "29990101T000000Z",
        "20260103T000000Z",
    ]
    assert [str(run.key.run) for run in list_runs(project, "dev")][-1] == "20260103T000000Z"


def test_lines_join_runs_of_one_sample_only(project: Project, make: Make) -> None:
    for day, count in enumerate((6, 1, 6), 1):
        make(f"2026010{day}T000000Z", runs(count))
    figures = {run.run: run.figures for run in read_history(project, "dev").runs if run.figures}
    panel = progression(figures).axes[0]
    joined = [list(line.get_ydata()) for line in panel.lines if line.get_linestyle() == "--"]
    assert [0, 2] in joined and [1] in joined and [0, 1, 2] not in joined


def test_a_student_alone_and_in_the_loop_are_told_apart() -> None:
    assert list(samples_of([])) == []
    base = {"agent": "crm-student", "model": "m"}
    alone, looped = (RunFigures.model_construct(**base, in_loop=each) for each in (False, True))
    assert (alone.who, looped.who) == ("crm-student (m)", "crm-student (m), Atlas loop")
