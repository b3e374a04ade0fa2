"""More than two runs, each compared with each other."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import combinations

import pytest
from rich.console import Console

from crm_assets.errors import InputError
from crm_assets.reporting import compute_metrics
from crm_assets.reporting.comparison import (
    RunMatrix,
    compare_all,
    compare_baselines,
    matrix_blocks,
    render_matrix_page,
)
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.terminal import show
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json

from ..conftest import RUN, Record
from .conftest import RUN_A, RUN_B, Baseline, verdict, verdicts
from .test_rendering import HOSTILE, read

RUN_C, RUN_D = "20260103T000000Z", "20260104T000000Z"
COUNT = 24


@pytest.fixture
def scored(baseline: Baseline) -> Baseline:
    """Writes the sessions of a run, and its metrics."""

    def write(run: str, records: Iterable[Record]) -> BaselinePaths:
        paths = baseline(run, records)
        write_json(paths.metrics, compute_metrics(paths.sessions, run=RUN).model_dump(mode="json"))
        return paths

    return write


@pytest.fixture
def three(scored: Baseline) -> list[BaselinePaths]:
    """Runs that succeed in every second, in most, and in every second conversation but for one."""
    half = [n % 2 == 0 for n in range(COUNT)]
    return [
        scored(RUN_A, verdicts(half)),
        scored(RUN_B, verdicts([n > 0 for n in range(COUNT)])),
        scored(RUN_C, verdicts([True, True, *half[2:-1], None])),
    ]


def printed(matrix: RunMatrix, width: int = 80) -> str:
    terminal = io.StringIO()
    show(*matrix_blocks(matrix), console=Console(width=width, file=terminal))
    return terminal.getvalue()


def test_each_pair_is_compared_as_if_it_were_alone_and_adjusted_with_the_others(
    three: list[BaselinePaths],
) -> None:
    matrix = compare_all(three, resamples=200)
    pairs = matrix.by("strict_success")
    for pair, (a, b) in zip(pairs, combinations(three, 2), strict=True):
        alone = compare_baselines(a, b, resamples=200).by("strict_success")
        assert (pair.a, pair.b) == (str(a.key.run), str(b.key.run))
        assert (pair.paired, pair.without_verdict) == (alone.paired, alone.without_verdict)
    raw = [pair.paired.p_value or 0 for pair in pairs]
    assert [pair.adjusted_p_value for pair in pairs] == pytest.approx(holm(raw), rel=1e-5)
    assert pairs[0].adjusted_p_value == pytest.approx(3 * raw[0], rel=1e-5)  # the smallest of three


def test_every_conversation_is_there_with_its_outcome_in_every_run(three: list[BaselinePaths]) -> None:
    matrix = compare_all(three, resamples=200)
    assert [run.label for run in matrix.runs] == ["A", "B", "C"]
    assert len(matrix.outcomes) == matrix.conversations == COUNT
    by_name = {row.conversation_id: row for row in matrix.outcomes}
    assert by_name["c-000"].outcomes == (1, 0, 1)
    assert by_name["c-002"].outcomes == (1, 1, 1) and not by_name["c-002"].differs
    assert by_name["c-023"].outcomes == (0, 1, None)
    strict = [run.means[0] for run in matrix.runs]
    assert [(mean.mean, mean.conversations) for mean in strict] == [
        (0.5, COUNT),
        (pytest.approx(23 / 24, abs=1e-5), COUNT),
        (pytest.approx(13 / 23, abs=1e-5), COUNT - 1),
    ]


def test_runs_of_another_sample_are_set_apart_with_the_reason(
    three: list[BaselinePaths], scored: Baseline
) -> None:
    fewer = scored(RUN_D, verdicts([True] * 5))
    twice = scored("20260105T000000Z", [*verdicts([True] * COUNT), *verdicts([True] * COUNT, epoch=2)])
    changed = verdicts([True] * COUNT)
    for record in changed:
        record["atlas_metadata"] |= {"dataset_revision": "7a" * 32}
    other = scored("20260106T000000Z", changed)
    rescored = {"name": "recorded", "recorded": "past.jsonl", "recorded_sha256": "9c" * 32}
    copy = [verdict(f"c-{n:03d}", True, meta={"agent": rescored}) for n in range(COUNT)]
    copies = [scored(run, copy) for run in ("20260107T000000Z", "20260108T000000Z")]
    matrix = compare_all([*three, fewer, twice, other, *copies], resamples=200)
    assert [run.side.run for run in matrix.runs] == [RUN_A, RUN_B, RUN_C, "20260107T000000Z"]
    reasons = {each.run: each.reason for each in matrix.set_apart}
    assert reasons[RUN_D] == "5 conversations instead of 24 conversations"
    assert reasons["20260105T000000Z"] == "2 epochs instead of 1 epoch"
    assert reasons["20260106T000000Z"] == "another revision of the dataset"
    assert reasons["20260108T000000Z"] == "the same results as run 20260107T000000Z"
    assert f"{RUN_D}: 5 conversations instead of 24 conversations." in printed(matrix, 120)


def test_without_a_second_run_of_the_sample_nothing_is_compared(
    three: list[BaselinePaths], scored: Baseline
) -> None:
    alone = scored(RUN_D, verdicts([True] * 5))
    with pytest.raises(InputError, match=f"No other run is comparable with {RUN_D} .*24 conversations"):
        compare_all([alone, *three])
    with pytest.raises(InputError, match=f"{RUN_A} is named twice"):
        compare_all([*three, three[0]])


def test_copies_count_once_in_every_run(scored: Baseline) -> None:
    def with_copies(successes: Sequence[bool]) -> list[Record]:
        records = verdicts(successes)
        for record, content in zip(records, ("1a", "1a", "2b"), strict=True):
            record["conversation_result"]["work_hash"] = content * 32
        return records

    runs = [
        scored(run, with_copies(successes))
        for run, successes in ((RUN_A, [True] * 3), (RUN_B, [True, False, True]), (RUN_C, [False] * 3))
    ]
    matrix = compare_all(runs, resamples=100)
    assert [(row.conversation_id, row.outcomes) for row in matrix.outcomes] == [
        ("c-000", (1, 0.5, 0)),
        ("c-002", (1, 1, 0)),
    ]


def test_the_page_shows_all_and_the_terminal_what_differs(three: list[BaselinePaths]) -> None:
    matrix = compare_all(three, resamples=200)
    page = read(render_matrix_page(matrix))
    assert page.tags.count("script") == 1
    assert page.texts.count("c-002") == page.texts.count("c-003") == 1
    text = printed(matrix)
    assert max(map(len, text.splitlines())) <= 80
    assert "c-003" in text and "c-002" not in text
    assert "2 of 3 pairs of runs differ significantly in strict success" in text
    for line in ("+45.8*", "−45.8*"):
        assert line in text


def test_no_text_becomes_markup(scored: Baseline) -> None:
    runs = []
    for run in (RUN_A, RUN_B, RUN_C):
        records = verdicts([True, run == RUN_A])
        for record in records:
            record["conversation_id"] += HOSTILE
            record["atlas_metadata"] |= {"agent": {"name": HOSTILE}, "workflow_category": HOSTILE}
        runs.append(scored(run, records))
    page = read(render_matrix_page(compare_all(runs, resamples=100)))
    assert page.tags.count("script") == 1  # ours
    assert sum(HOSTILE in text for text in page.texts) >= 5
