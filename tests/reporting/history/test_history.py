"""The history of a dataset, from its baselines' files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import dagster as dg
import orjson
import pytest

import crm_assets.reporting.history.read as read_module
from crm_assets.atlas.plan import SessionPlan
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, refresh_history
from crm_assets.reporting.comparison import Comparison
from crm_assets.reporting.history import History, HistoryPaths, read_history, update_history
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

FIRST, SECOND, THIRD = "20260130T093000Z", "20260131T093000Z", "20260201T093000Z"


@pytest.fixture
def instance(project: Project, snapshots: Snapshots) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, and a dataset with two runs: the ground truth's, and nobody's."""
    with dg.DagsterInstance.ephemeral() as instance:

        def make_two() -> None:
            write_dataset(project.dataset_file("small"), 3, seed=11)
            make(instance, project, FIRST, "replay")
            make(instance, project, SECOND, "noop")

        snapshots.bring(project, "small twice", make_two)
        yield instance


def make(instance: dg.DagsterInstance, project: Project, run: str, agent: str) -> BaselinePaths:
    key = BaselineKey.of("small", run)
    plan = SessionPlan(agent="replay" if agent == "replay" else "noop")
    return materialize_on(instance, project, key, LineageOptions(plan)).paths


def test_every_run_is_there_with_what_changed_since_the_one_before(
    instance: dg.DagsterInstance, project: Project
) -> None:
    history, drawing, _ = update_history(project, "small")
    assert [run.run for run in history.runs] == [FIRST, SECOND]
    rates = [run.figures.strict_success.value for run in history.runs if run.figures]
    assert rates == [1.0, 0.0]
    assert history.runs[0].changes == ()
    changes = {change.fact: (change.a, change.b) for change in history.runs[1].changes}
    assert changes == {"agent.name": ("replay", "noop")}
    assert drawing is not None
    assert drawing.name == "progression"


def test_the_files_say_the_same(instance: dg.DagsterInstance, project: Project) -> None:
    history = update_history(project, "small").history
    paths = HistoryPaths.of(project, "small")
    assert History.model_validate(read_json(paths.document)) == history
    page = paths.page.read_text()
    assert "](plots/progression.svg)" in page
    assert (paths.plots / "progression.svg").is_file()
    assert f"| `{FIRST}` | replay" in page
    assert "`agent.name`: replay → noop" in page
    assert str(project.root) not in page


def test_a_changed_dataset_is_said_and_a_repetition_changes_nothing(
    instance: dg.DagsterInstance, project: Project
) -> None:
    write_dataset(project.dataset_file("small"), 3, seed=12)
    make(instance, project, THIRD, "noop")
    make(instance, project, "20260202T093000Z", "noop")
    history = update_history(project, "small").history
    assert [change.fact for change in history.runs[2].changes] == ["dataset_revision"]
    assert history.runs[3].changes == ()
    page = HistoryPaths.of(project, "small").page.read_text()
    assert "these runs used 2 revisions of it" in page
    assert ": no recorded setting changed." in page


def test_the_newest_run_is_compared_with_the_one_before(
    instance: dg.DagsterInstance, project: Project
) -> None:
    make(instance, project, THIRD, "replay")
    newest = update_history(project, "small").newest
    assert isinstance(newest, Comparison)
    assert (newest.a.run, newest.b.run) == (SECOND, THIRD)
    paired = newest.by("strict_success").paired
    assert (paired.difference, paired.better, paired.conversations) == (1.0, 3, 3)
    page = HistoryPaths.of(project, "small").page.read_text()
    assert f"`crm-assets compare small {SECOND} {THIRD}`" in page
    assert re.search(r"\| Strict success +\| +0.0% \| 100.0% \| +\+100.0 \|", page)


def test_runs_on_different_data_are_not_compared_and_the_page_says_why(
    instance: dg.DagsterInstance, project: Project
) -> None:
    write_dataset(project.dataset_file("small"), 3, seed=12)
    make(instance, project, THIRD, "noop")
    newest = update_history(project, "small").newest
    assert isinstance(newest, str)
    assert "The dataset changed between runs" in newest
    assert "The dataset changed between runs" in HistoryPaths.of(project, "small").page.read_text()


def test_a_run_without_figures_is_not_the_newest_to_compare(
    instance: dg.DagsterInstance, project: Project
) -> None:
    make(instance, project, THIRD, "noop").metrics.unlink()
    newest = update_history(project, "small").newest
    assert isinstance(newest, Comparison)
    assert (newest.a.run, newest.b.run) == (FIRST, SECOND)
    BaselinePaths.of(project, BaselineKey.of("small", FIRST)).metrics.unlink()
    assert update_history(project, "small").newest is None


def test_one_bad_file_does_not_hide_the_other_runs(instance: dg.DagsterInstance, project: Project) -> None:
    BaselinePaths.of(project, BaselineKey.of("small", FIRST)).metrics.write_text("{}")
    third = make(instance, project, THIRD, "noop")
    third.metrics.unlink()
    (HistoryPaths.of(project, "small").folder / "notes").mkdir()
    history = update_history(project, "small").history
    assert [run.figures is not None for run in history.runs] == [False, True, False]
    assert "does not hold the metrics" in (history.runs[0].problem or "")
    assert "rescore" in (history.runs[2].problem or "")
    page = HistoryPaths.of(project, "small").page.read_text()
    assert "## Runs without figures" in page
    assert str(project.root) not in page


def test_only_what_changed_is_read_again(
    instance: dg.DagsterInstance, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_history(project, "small")
    read: list[str] = []
    real_metrics, real_facts = read_module.read_metrics, read_module.read_facts
    monkeypatch.setattr(
        read_module, "read_metrics", lambda path: read.append(path.name) or real_metrics(path)
    )
    monkeypatch.setattr(read_module, "read_facts", lambda path: read.append(path.name) or real_facts(path))
    before = read_history(project, "small")
    assert read == []
    os.utime(BaselinePaths.of(project, BaselineKey.of("small", SECOND)).metrics, ns=(1, 1))
    after = read_history(project, "small")
    assert read == ["metrics.json"], "the sessions are the same"
    assert [run.figures for run in after.runs] == [run.figures for run in before.runs]


@pytest.mark.parametrize("content", [b"not json", b'{"schema_version": 99}'])
def test_a_history_that_cannot_be_read_is_made_anew(
    instance: dg.DagsterInstance, project: Project, content: bytes
) -> None:
    history = update_history(project, "small").history
    HistoryPaths.of(project, "small").document.write_bytes(content)
    again = update_history(project, "small").history
    assert again == history


def test_the_history_of_a_dataset_without_runs_says_so(project: Project) -> None:
    write_dataset(project.dataset_file("small"), 1, seed=1)
    history, drawing, _ = update_history(project, "small")
    assert (history.runs, drawing) == ((), None)
    assert "This dataset has no finished runs yet" in HistoryPaths.of(project, "small").page.read_text()


def test_the_asset_shows_table_picture_and_the_newest_figures(
    instance: dg.DagsterInstance, project: Project
) -> None:
    refresh_history(instance, "small")
    record = instance.fetch_materializations(dg.AssetKey("baseline_history"), limit=1).records[0]
    assert record.partition_key == "small"
    assert record.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    assert metadata["runs"].value == 2
    assert metadata["strict_success"].value == 0.0
    table = metadata["table"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [row.data["run"] for row in table.records] == [SECOND, FIRST]
    assert table.records[0].data["changed"] == "agent.name"
    assert "](data:image/png;base64," in str(metadata["progression"].value)
    newest = str(metadata["newest_vs_before"].value)
    assert re.fullmatch(r"[+−]\d+\.\d points \(95% interval .*\)", newest)
    assert len(newest) <= 60
    assert "| Strict success " in str(metadata["comparison"].value)


def test_the_document_is_json_of_a_version(instance: dg.DagsterInstance, project: Project) -> None:
    update_history(project, "small")
    document = orjson.loads(HistoryPaths.of(project, "small").document.read_bytes())
    assert document["schema_version"] == 2
    assert document["dataset"] == "small"
