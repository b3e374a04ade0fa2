"""Datasets, runs and models are completed in the shell, and runs are found by short names."""

from __future__ import annotations

import json

import pytest
from click.shell_completion import ShellComplete

from crm_assets.cli import cli
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run

LATER = "20260201T093000Z"


def completed(*arguments: str) -> list[str]:
    """Return what the shell offers for the last word."""
    *before, incomplete = arguments
    shell = ShellComplete(cli, {}, "crm-assets", "_CRM_ASSETS_COMPLETE")
    return [item.value for item in shell.get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (("baseline", "--dataset", "s"), ["small"]),
        (("show", ""), ["small"]),
        (("show", "small", ""), [LATER, KEY, "latest"]),
        (("compare", "small", KEY, "202602"), [LATER]),
        (("runs", "restore", "small", "l"), ["latest"]),
        (("baseline", "--dataset", "small", "--run", "20260131"), [KEY]),
        (("backfill", "--dataset", "small", "--runs", f"{KEY},202602"), [f"{KEY},{LATER}"]),
        (("baseline", "--dataset", "small", "--replay", "20260131"), [KEY]),
        (("baseline", "--run", ""), []),
        (("baseline", "--teacher", "openai/gpt-4.1-"), ["openai/gpt-4.1-mini"]),
        (("baseline", "--student", "gemini/"), ["gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro"]),
        (("study", "--judge", "offline/j"), ["offline/judge"]),
    ],
    ids=" ".join,
)
def test_names_are_completed(
    run: Run, project: Project, arguments: tuple[str, ...], offered: list[str]
) -> None:
    for key in (KEY, LATER):
        BaselinePaths.of(project, BaselineKey.of("small", key)).folder.mkdir(parents=True)
    assert completed(*arguments) == offered


def test_short_names_reach_commands(run: Run, finish: Finish, project: Project) -> None:
    finish("noop")
    for name in ("latest", "2026", KEY):
        shown = run("show", "small", name, "--json")
        assert (shown.exit_code, len(json.loads(shown.stdout))) == (0, 6), shown.output
        kept = run("baseline", "--dataset", "small", "--run", name)
        assert f"Baseline small|{KEY} is finished and protected" in kept.stderr
    compared = run("compare", "small", "latest", "2026", "--json")
    assert compared.exit_code == 0, compared.output
    assert (
        "All of these runs are finished" in run("backfill", "--dataset", "small", "--runs", "2026").stdout
    )
    refused = run("baseline", "--dataset", "small", "--replay", "2026", "--run", LATER)
    assert f"{KEY}/atlas/ledger.jsonl" in refused.stderr, "the run without models that the start names"
