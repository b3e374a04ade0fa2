"""`crm-assets playbook` and `crm-assets review`, on a run whose sessions need an approval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.observe import observe

from crm_assets.defs.assets import playbook
from crm_assets.defs.resources import PostgresResource, TelemetryResource
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import Snapshots

from .conftest import KEY, Run


@pytest.fixture
def reviewed(run: Run, project: Project, snapshots: Snapshots) -> BaselinePaths:
    """A finished run of two conversations; nobody has approved its sessions."""
    config = project.root / "strict.yaml"
    document = yaml.safe_load((project.configs / "crm_harness.dev.yaml").read_bytes())
    document["runtime_safety"] = {"review": {"require_approval": True}}
    config.write_text(yaml.safe_dump(document))

    def make() -> None:
        made = run("baseline", "--dataset", "small", "--run", KEY, "--limit", 2, "--config", config)
        assert made.exit_code == 0, made.output
        assert "waiting for approval, so not in the playbook yet: 2 sessions" in made.stderr

    snapshots.bring(project, "unapproved", make)
    return BaselinePaths.of(project, BaselineKey.of("small", KEY))


def printed(run: Run, *arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_baseline_holds_its_playbook(run: Run, reviewed: BaselinePaths, project: Project) -> None:
    document = read_json(reviewed.playbook)
    assert document["before"]["namespace"] == "small"
    assert document["before"]["sha256"] == document["after"]["sha256"]  # nothing is approved
    assert document["awaiting_approval"] == 2
    assert "playbook.json" in read_json(reviewed.manifest)["files"]
    found = printed(run, "lineage", "small", KEY, "--verify")
    assert (found["playbook"]["namespace"], found["playbook"]["awaiting_approval"]) == ("small", 2)
    checks = {check["file"]: check["problem"] for check in found["verification"]["checks"]}
    assert checks["playbook.json"] is None
    assert "review list" in reviewed.readme.read_text()
    with open_instance(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("playbook"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["awaiting_approval"].value == 2


def test_dagster_observes_the_playbook(run: Run, reviewed: BaselinePaths, project: Project) -> None:
    assert run("review", "approve", "--dataset", "small").exit_code == 0
    resources = {"telemetry": TelemetryResource(postgres=PostgresResource.of(project))}
    with dg.DagsterInstance.ephemeral() as instance:
        done = observe([playbook], instance=instance, resources=resources)
        (observed,) = done.asset_observations_for_node("playbook")
    (state,) = printed(run, "playbook", "show")
    assert observed.metadata["namespaces"].value == "small"
    assert observed.metadata["entries"].value == state["entries"] > 0
    assert observed.metadata["sha256"].value == f"small: {state['sha256']}"


def test_a_changed_entry_does_not_verify(run: Run, reviewed: BaselinePaths) -> None:
    document = read_json(reviewed.playbook)
    document["before"]["keys"] = {"made-up": {"version": 7}}
    reviewed.playbook.write_text(json.dumps(document))
    found = run("lineage", "small", KEY, "--verify")
    assert found.exit_code == 1
    assert "Its entries before the run are not those that its hash names" in found.stdout


def test_approval_teaches_and_rejection_does_not(run: Run, reviewed: BaselinePaths, tmp_path: Path) -> None:
    assert printed(run, "playbook", "show") == []
    waiting = printed(run, "review", "list", "--dataset", "small", "--run", KEY)
    odd, first = sorted(waiting, key=lambda session: session["entries"])
    assert (first["status"], first["waits"], first["entries"] > 0) == ("pending", True, True)
    assert "1 session rejected." in run("review", "reject", odd["id"], "--note", "Odd.").stdout
    assert "taught something" in run("review", "approve", "--dataset", "small").stdout
    decided = {each["id"]: each["status"] for each in printed(run, "review", "list", "--status", "all")}
    assert decided == {first["id"]: "approved", odd["id"]: "quarantined"}
    (playbook,) = printed(run, "playbook", "show")
    assert (playbook["namespace"], playbook["entries"]) == ("small", first["entries"])
    before = f"small/{KEY}:before"
    assert "+ " in run("playbook", "diff", before, "small").stdout

    kept = tmp_path / "kept.json"
    assert run("playbook", "snapshot", "--namespace", "small", kept).exit_code == 0
    emptied = run("playbook", "reset", "--namespace", "small", "--yes")
    assert "0 entries now" in emptied.stdout
    assert printed(run, "playbook", "show") == []
    assert run("playbook", "reset", "--namespace", "small", "--to", kept, "--yes").exit_code == 0
    assert run("playbook", "diff", "small", kept).stdout.strip() == "The playbooks are the same."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["review", "approve"], "Name sessions by their IDs"),
        (["review", "approve", 999], "There is no finished session 999"),
        (["playbook", "show", "--namespace", "Not One"], "is not a namespace"),
        (["playbook", "diff", "small", "small/20260101T000000Z:before"], "has no playbook.json"),
    ],
)
def test_a_mistake_gets_one_sentence(run: Run, arguments: list[object], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
