"""The leaderboard: systems are ranked where they can be told apart, and nowhere else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from crm_assets.errors import InputError
from crm_assets.reporting import compute_metrics
from crm_assets.reporting.comparison import compare_baselines
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.leaderboard.board import dataset_board, overall_board
from crm_assets.reporting.leaderboard.files import LeaderboardPaths, write_board
from crm_assets.reporting.leaderboard.models import Board
from crm_assets.reporting.leaderboard.page import board_blocks, board_headline
from crm_assets.reporting.models import RunInfo
from crm_assets.reporting.terminal import show
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json, write_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from ..comparison.conftest import of_run, verdicts

Write = Callable[..., BaselinePaths]
COUNT = 40
GOOD = [True] * 30 + [False] * 10
CLOSE = [True] * 29 + [False] * 11
BAD = [True] * 6 + [False] * 34


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def write(project: Project) -> Write:
    """Writes a finished run of an agent with these outcomes."""

    def make(
        number: int,
        agent: str,
        outcomes: Sequence[bool | None],
        *,
        cost: float | None = None,
        dataset: str = "dev",
        **changes: Any,
    ) -> BaselinePaths:
        run = f"202601{number:02d}T000000Z"
        meta: dict[str, Any] = {"agent": {"name": agent}, "dataset": dataset}
        if cost is not None:
            used = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "calls": 1}
            meta |= {"cost_usd": {"student": cost}, "token_usage": {"student": used}}
        paths = BaselinePaths.of(project, BaselineKey.of(dataset, run))
        paths.folder.mkdir(parents=True)
        records = [of_run(run, record) for record in verdicts(outcomes, meta=meta, **changes)]
        paths.sessions.write_text("".join(json.dumps(record) + "\n" for record in records))
        metrics = compute_metrics(paths.sessions, run=RunInfo())
        write_json(paths.metrics, metrics.model_dump(mode="json"))
        paths.readme.touch()
        return paths

    return make


def ranks(board: Board) -> dict[str, int | None]:
    return {system.name: system.rank for system in board.systems}


def test_systems_that_cannot_be_told_apart_share_a_rank(write: Write, project: Project) -> None:
    good, close, bad = write(1, "good", GOOD), write(2, "close", CLOSE), write(3, "bad", BAD)
    board = dataset_board(project, "dev")
    assert ranks(board) == {"good": 1, "close": 1, "bad": 3}
    assert [system.better_than for system in board.systems] == [("C",), ("C",), ()]
    assert board_headline(board).startswith("Systems A, B share rank 1 on 40 conversations; 2 of 3 pairs")
    named = {"A": good, "B": close, "C": bad}
    raw = []
    for pair in board.pairs:
        alone = compare_baselines(named[pair.a], named[pair.b]).by("strict_success").paired
        assert (pair.difference, pair.low, pair.high) == (alone.difference, alone.low, alone.high)
        raw.append(alone.p_value or 0.0)
    assert [pair.adjusted_p_value for pair in board.pairs] == pytest.approx(holm(raw), rel=1e-5)


def test_without_a_difference_nobody_is_ranked_above_another(write: Write, project: Project) -> None:
    write(1, "good", GOOD)
    write(2, "close", CLOSE)
    board = dataset_board(project, "dev")
    assert set(ranks(board).values()) == {1}
    assert board_headline(board) == (
        "None of the 2 systems can be told apart from all others on 40 conversations."
    )


def test_a_system_alone_has_no_rank(write: Write, project: Project) -> None:
    write(1, "good", GOOD)
    board = dataset_board(project, "dev")
    assert ranks(board) == {"good": None}
    assert "nothing to compare it with" in board_headline(board)


def test_runs_of_one_system_are_pooled_by_conversation(write: Write, project: Project) -> None:
    write(1, "good", GOOD, cost=0.2)
    write(2, "good", [not each for each in GOOD], cost=0.4)
    write(3, "bad", BAD)
    pooled = next(each for each in dataset_board(project, "dev").systems if each.name == "good")
    assert pooled.runs == ("dev|20260102T000000Z", "dev|20260101T000000Z")
    rate = pooled.strict_success
    assert (rate.value, rate.successes, rate.count, rate.conversations) == (0.5, 40, 80, COUNT)
    assert pooled.cost_usd == pytest.approx(0.3)


def test_what_has_no_verdict_is_in_no_rate(write: Write, project: Project) -> None:
    write(1, "good", [None, *GOOD[1:]])
    write(2, "bad", BAD)
    board = dataset_board(project, "dev")
    assert board.systems[0].strict_success.count == COUNT - 1
    assert board.pairs[0].conversations == COUNT - 1


def test_runs_of_another_sample_are_set_apart_with_the_reason(write: Write, project: Project) -> None:
    write(1, "good", GOOD)
    write(2, "bad", BAD)
    write(3, "good", [True] * 5)
    board = dataset_board(project, "dev")
    assert [(each.run, each.reason) for each in board.set_apart] == [
        ("dev|20260103T000000Z", "5 conversations instead of 40 conversations")
    ]
    assert len(board.systems) == 2


def test_the_front_is_who_nobody_undercuts_at_the_same_rate_or_a_better_one(
    write: Write, project: Project
) -> None:
    write(1, "dear", GOOD, cost=0.9)
    write(2, "cheap", GOOD, cost=0.3)
    write(3, "cheaper", BAD, cost=0.1)
    write(4, "wasteful", BAD, cost=0.5)
    write(5, "unknown", CLOSE)
    board = dataset_board(project, "dev")
    assert {each.name for each in board.systems if each.on_front} == {"cheap", "cheaper"}
    assert next(each for each in board.systems if each.name == "unknown").cost_usd is None


def test_a_board_over_datasets_compares_who_ran_on_each(write: Write, project: Project) -> None:
    for dataset in ("dev", "demo"):
        write(1, "good", GOOD, dataset=dataset)
        write(2, "bad", BAD, dataset=dataset)
    write(3, "elsewhere", GOOD, dataset="demo")
    write(4, "short", [True] * 3, dataset="dev")
    board = overall_board(project, ["dev", "demo"])
    assert (board.conversations, ranks(board)) == (2 * COUNT, {"good": 1, "bad": 2})
    good = board.systems[0]
    assert [(each.dataset, each.strict_success.value) for each in good.by_dataset] == [
        ("dev", 0.75),
        ("demo", 0.75),
    ]
    assert LeaderboardPaths.of(project, board).folder == project.artifacts / "leaderboards" / "dev+demo"
    assert good.strict_success.conversations == 2 * COUNT
    assert {(each.run, each.reason) for each in board.set_apart} == {
        ("demo|20260103T000000Z", "no comparable run on dev"),
        ("dev|20260104T000000Z", "3 conversations instead of 40 conversations"),
    }
    write(5, "alone", GOOD, dataset="other")
    with pytest.raises(InputError, match="No system has comparable runs on all of dev, other"):
        overall_board(project, ["dev", "other"])


def test_a_dataset_without_runs_says_how_to_get_one(project: Project) -> None:
    with pytest.raises(InputError, match="crm-assets baseline --dataset dev"):
        dataset_board(project, "dev")


def test_its_pages_say_the_same(write: Write, project: Project) -> None:
    write(1, "<b>good</b>", GOOD, cost=0.3)
    write(2, "bad", BAD, cost=0.1)
    board = dataset_board(project, "dev")
    paths, drawing = write_board(project, board)
    assert paths == LeaderboardPaths.of(project, board)
    assert paths.folder == project.baselines / "dev" / "leaderboard"
    assert Board.model_validate(read_json(paths.document)) == board
    report, readme = paths.report.read_text(), paths.readme.read_text()
    assert "<svg" in report and "<b>good</b>" not in report
    assert "](plots/pareto.svg)" in readme and (paths.plots / "pareto.svg").is_file()
    assert drawing is not None and "no other undercuts" in drawing.caption
    terminal = io.StringIO()
    show(*board_blocks(board), console=Console(width=80, file=terminal))
    for text in (report, readme, terminal.getvalue()):
        assert "75.0%" in text and "15.0%" in text and "$0.3000" in text
        assert "+60.0*" not in text and "−60.0*" in text.replace("\\", "")
