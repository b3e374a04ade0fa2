"""What a run repeats, and what that does to its costs."""

from __future__ import annotations

from typing import Any

import pytest

from crm_assets.records import ReplayedRun
from crm_assets.reporting import RunInfo, summarize
from crm_assets.reporting.document import Cell
from crm_assets.reporting.history import History, HistoryRun
from crm_assets.reporting.history.models import FileStamp
from crm_assets.reporting.history.page import run_cells
from crm_assets.reporting.origin import Origin, origin_of
from crm_assets.reporting.run_figures import RunFigures, samples_of

from .conftest import Measure, session, whole_page

ONE = ReplayedRun(dataset="dev", run="20260131T093000Z", file="a/ledger.jsonl", sha256="ab" * 32)
PAID = {"token_usage": {"student": {"total_tokens": 2160, "calls": 3}}, "cost_usd": {"student": 0.0013}}


@pytest.mark.parametrize(
    ("agent", "replay_of", "label", "sample"),
    [
        ({"name": "atlas"}, ONE, "replay of 20260131T093000Z", "dev|20260131T093000Z"),
        ({"recorded": "x.jsonl", "recorded_sha256": "cd"}, None, "calls of x.jsonl, scored again", "cd"),
        (
            {
                "recorded": "imported.jsonl",
                "recorded_sha256": "ef",
                "imported": {"file": "p", "sha256": "ef"},
            },
            None,
            "import of p",
            "ef",
        ),
    ],
)
def test_an_origin_names_the_run_or_the_file(
    agent: dict[str, Any], replay_of: ReplayedRun | None, label: str, sample: str
) -> None:
    found = origin_of(agent, replay_of)
    assert found is not None
    assert (found.label, found.sample) == (label, sample)


def test_a_run_of_its_own_has_no_origin() -> None:
    assert origin_of({"name": "replay"}, None) is None


def test_a_replay_costs_nothing_and_the_recorded_cost_stands_beside_it(measure: Measure) -> None:
    metrics = measure(session(meta=PAID), run=RunInfo(replay_of=ONE))
    assert (metrics.total_cost_usd, metrics.recorded_cost_usd) == (0.0, 0.0013)
    assert (metrics.own_tokens, metrics.own_cost_usd, metrics.reported_tokens) == (0, 0.0, 2160)
    figures = RunFigures.of(metrics)
    assert (figures.tokens, figures.recorded_tokens) == (0, 2160)
    cells = cells_of(figures)
    assert cells[-2:] == ("0 (recorded: 2,160)", "$0.0000 (recorded: $0.0013)")
    assert "Cost per conversation of the recorded run" in str(summarize(metrics))
    assert "replay of 20260131T093000Z" in whole_page(metrics)


def test_a_run_of_its_own_costs_what_it_reports(measure: Measure) -> None:
    metrics = measure(session(meta=PAID))
    assert (metrics.own_tokens, metrics.own_cost_usd, metrics.recorded_cost_usd) == (2160, 0.0013, None)
    assert cells_of(RunFigures.of(metrics))[-2:] == (2160, "$0.0013")


def cells_of(figures: RunFigures) -> tuple[Cell, ...]:
    return run_cells(entry("20260201T093000Z", figures), samples_of([figures]))


def entry(run: str, figures: RunFigures) -> HistoryRun:
    """A run of the history with these figures."""
    stamp = FileStamp(bytes=1, modified_ns=1)
    return HistoryRun(run=run, metrics=stamp, sessions=stamp, figures=figures, problem=None, facts={})


def test_of_runs_that_repeat_one_another_the_first_is_a_sample(measure: Measure) -> None:
    own = RunFigures.of(measure(session()))
    file = Origin(kind="import", dataset=None, run=None, file="p", sha256="ef")
    replay = Origin(kind="replay", dataset="dev", run="2", file="l", sha256="cd")
    origins = {"1": None, "2": file, "3": file, "4": replay, "5": None}
    runs = [entry(run, own.model_copy(update={"origin": origin})) for run, origin in origins.items()]
    assert [run.run for run in History(dataset="dev", runs=tuple(runs)).samples] == ["1", "2", "5"]
