"""`crm-assets compare`, on baselines that the harness made."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import Result

from crm_assets.cli import cli
from crm_assets.cli.compare import compare
from crm_assets.generator import write_dataset
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

from .conftest import KEY, Finish, Run

REPLAY, NOOP = KEY, "20260201T000000Z-noop"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.commands, "compare", compare)


@pytest.fixture
def runs(
    run: Run, finish: Finish, project: Project, snapshots: Snapshots
) -> tuple[BaselinePaths, BaselinePaths]:
    """The ground truth and nobody over the same six conversations."""

    def make() -> None:
        finish("replay")
        made = run("baseline", "--dataset", "small", "--run", NOOP, "--agent", "noop")
        assert made.exit_code == 0, made.output

    snapshots.bring(project, "small by replay and noop", make)
    a, b = (BaselinePaths.of(project, BaselineKey.of("small", key)) for key in (REPLAY, NOOP))
    return a, b


def document(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found: dict[str, object] = orjson.loads(result.stdout)
    return found


def test_two_baselines_are_compared(
    run: Run, runs: tuple[BaselinePaths, BaselinePaths], tmp_path: Path
) -> None:
    page = tmp_path / "out" / "compared.html"
    result = run("compare", "small", REPLAY, NOOP, "--html", page)
    assert result.exit_code == 0, result.output
    assert "B did worse on strict success: −100.0 points" in result.stdout
    assert "agent.name" in result.stdout
    assert f"crm-assets view small {REPLAY} {NOOP}\n" in result.stdout
    assert f"Page: {page}" in result.stdout
    found = orjson.loads(run("compare", "small", REPLAY, NOOP, "--json", "--html", page).stdout)
    strict = found["measures"][0]
    assert (strict["measure"], strict["paired"]["better"], strict["paired"]["worse"]) == (
        "strict_success",
        0,
        6,
    )
    assert strict["paired"]["p_value"] == 0.03125
    assert [(each["fact"], each["a"], each["b"]) for each in found["provenance"]] == [
        ("agent.name", "replay", "noop")
    ]
    assert len(found["flips"]) == 6
    assert all(flip["first_differing_turn"] == 1 for flip in found["flips"])
    assert page.read_text().count("<details>") == 6

    itself = document(run("compare", "small", REPLAY, REPLAY, "--json"))
    assert (itself["flips"], itself["provenance"]) == ([], [])

    again = run("compare", "small", REPLAY, NOOP, "--json", "--seed", 3, "--resamples", 500)
    assert (document(again)["seed"], document(again)["resamples"]) == (3, 500)


def test_a_changed_dataset_is_refused_unless_the_intersection_is_asked_for(
    run: Run, finish: Finish, project: Project
) -> None:
    finish("replay")
    write_dataset(project.dataset_file("small"), 8, seed=11)
    assert run("baseline", "--dataset", "small", "--run", NOOP, "--agent", "noop").exit_code == 0
    refused = run("compare", "small", REPLAY, NOOP)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "--intersection" in refused.stderr
    found = document(run("compare", "small", REPLAY, NOOP, "--json", "--intersection"))
    assert (found["intersection"], found["conversations"], found["only_in_b"]) == (True, 6, 2)


def test_more_than_two_baselines_are_each_compared_with_each(
    run: Run, runs: tuple[BaselinePaths, BaselinePaths], tmp_path: Path
) -> None:
    third, fewer, page = "20260202T000000Z", "20260203T000000Z", tmp_path / "matrix.html"
    for key, limit in ((third, 6), (fewer, 3)):
        made = run("baseline", "--dataset", "small", "--run", key, "--agent", "noop", "--limit", limit)
        assert made.exit_code == 0, made.output
    compared = ("compare", "small", REPLAY, NOOP, third, fewer)
    result = run(*compared, "--html", page)
    assert result.exit_code == 0, result.output
    assert "0 of 3 pairs of runs differ" in result.stdout  # adjusted: 3 × 0.03125
    assert f"{fewer}: 3 conversations instead of 6 conversations." in result.stdout
    assert (
        '<table aria-labelledby="strict-success-by-conversation-and-run" class="sortable">'
        in page.read_text()
    )
    found = document(run(*compared, "--json"))
    assert [each["run"] for each in found["set_apart"]] == [fewer]  # type: ignore[attr-defined]
    assert len(found["outcomes"]) == 6  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["small", REPLAY], "Name two or more runs to compare"),
        (["small", REPLAY, NOOP], f"Run {REPLAY} of dataset small is missing or not finished"),
        (["small", "yesterday", NOOP], "is not a run key"),
        (["Small", REPLAY, NOOP], "is not a dataset key"),
        (["small", REPLAY, NOOP, "--resamples", "5"], "--resamples"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(
    run: Run, arguments: list[str], sentence: str
) -> None:
    result = run("compare", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
