"""`crm-assets reference` and `crm-assets gate`, on baselines that the harness made."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run

NOOP = "20260201T000000Z-noop"


def test_a_run_is_held_against_the_pinned_reference(
    run: Run, finish: Finish, project: Project, tmp_path: Path
) -> None:
    finish("replay")
    without = run("gate", "small", KEY)
    assert without.exit_code == 5 and "Dataset small has no reference: set one with" in without.stderr
    assert run("reference", "set", "small", KEY, "--author", "Ada").stdout == f"Reference of small: {KEY}\n"
    assert f"Reference of small: {KEY} (set 2" in run("reference", "show", "small").stdout
    itself = run("gate", "small", KEY)
    assert itself.exit_code == 0 and f"{KEY} is not worse than {KEY}" in itself.stdout

    made = run("baseline", "--dataset", "small", "--run", NOOP, "--agent", "noop")
    assert made.exit_code == 0, made.output  # a warning stops nothing
    assert f"warning: gate: small|{NOOP}: {NOOP} is worse than {KEY}" in made.stderr
    file = tmp_path / "gate.xml"
    worse = run("gate", "small", NOOP, "--junit", file, "--json")
    assert worse.exit_code == 1, worse.output
    assert json.loads(worse.stdout)["outcome"] == "worse"
    assert ET.parse(file).getroot().get("failures") == "1"

    paths = BaselinePaths.of(project, BaselineKey.of("small", KEY))
    paths.sessions.write_bytes(paths.sessions.read_bytes() + b"\n")
    again = run("gate", "small", NOOP)
    assert again.exit_code == 5 and "was made again since it was chosen" in again.stderr
    assert run("gate", "small", NOOP, "--margin", "-1").exit_code == 5, "2 says that nobody can tell"
    assert "has no reference any more" in run("reference", "clear", "small").stdout
    assert "has no reference" in run("reference", "show", "small").stdout
