"""`crm-assets study`: its runs, its page, and that it resumes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import dagster as dg
import orjson
import pytest

from crm_assets.conversations import Conversation
from crm_assets.definitions import defs
from crm_assets.defs.assets.learning_study import StudyConfig
from crm_assets.defs.jobs import STUDY_JOB
from crm_assets.generator import generate
from crm_assets.orchestration.materialize import open_instance
from crm_assets.reporting.history import update_history
from crm_assets.reporting.study import Study
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.study_files import StudyPaths
from tests.projects import Snapshots

from .conftest import Run

STUDY = "20260131T093000Z-s"
OPTIONS = ("study", "--dataset", "pairs", "--arms", "off,on", "--repeats", 1, "--run", STUDY)
RUNS = ["on-teach-1", "off-held-out-1", "on-held-out-1", "off-seen-1", "on-seen-1"]


def write_pairs(path: Path) -> None:
    """Four short conversations of one learning key, and a copy of the first."""
    keys: dict[tuple[str, str], list[Conversation]] = defaultdict(list)
    for one in generate(200, 3):
        found = keys[one.workflow_category, one.complexity_level]
        if len(one.turns) <= 4:
            found.append(one)
        if len(found) == 4:
            break
    copy = found[0].model_copy(update={"conversation_id": "a-copy"})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(one.model_dump(mode="json")) + b"\n" for one in (*found, copy)))


@pytest.fixture
def studied(run: Run, project: Project, snapshots: Snapshots) -> StudyPaths:
    """A finished study."""

    def make() -> None:
        write_pairs(project.dataset_file("pairs"))
        made = run(*OPTIONS)
        assert made.exit_code == 0, made.output
        assert "conversations that it never saw" in made.stdout

    snapshots.bring(project, "study", make)
    return StudyPaths.of(project, BaselineKey.of("pairs", STUDY))


def paths_of(project: Project, label: str) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("pairs", f"{STUDY}-{label}"))


def test_its_arms_are_baselines_of_parts(studied: StudyPaths, project: Project) -> None:
    parts: dict[str, set[str]] = {}
    for label in RUNS:
        paths = paths_of(project, label)
        assert paths.manifest.is_file()
        lines = [orjson.loads(line) for line in paths.tasks.read_bytes().splitlines()]
        (part,) = {line["subset"]["part"] for line in lines}
        parts.setdefault(part, set()).update(line["conversation"]["conversation_id"] for line in lines)
        assert read_json(paths.run)["subset"]["part"] == part
        assert f"the {part} part" in paths.readme.read_text()
    assert len(parts["teach"] | parts["held-out"]) == 5
    assert not parts["teach"] & parts["held-out"]
    taught, scored = (read_json(paths_of(project, label).run)["playbook"] for label in RUNS[:3:2])
    assert (taught["version"], scored["sha256"]) == (0, taught["sha256_after"])
    assert read_json(paths_of(project, "off-held-out-1").run)["playbook"] is None


def test_its_result_counts_contents_and_keeps_seen_apart(studied: StudyPaths) -> None:
    found = Study.model_validate(read_json(studied.document))
    assert (found.taught + found.held_out, found.copies) == (5, 1)
    assert found.gain.paired.conversations + found.seen.paired.conversations == 4
    assert (found.gain.on, found.seen.on, found.noise) == ("held-out", "seen", None)
    assert found.learning.entries > 0
    assert found.learning.tokens
    page = studied.readme.read_text()
    for words in ("never seen", "taught on (memory helps)", "Teaching: ", "What was learned"):
        assert words in page
    assert studied.report.read_text().startswith("<!DOCTYPE html>")


def test_dagster_and_the_history_know_it(studied: StudyPaths, project: Project) -> None:
    with open_instance(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("learning_study"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.partition == "pairs"
    assert "headline" in event.asset_materialization.metadata
    history = update_history(project, "pairs").history
    assert len(history.runs) == len(RUNS)
    assert history.samples == ()  # parts of the dataset are compared with nothing


def test_the_same_command_resumes_and_other_options_are_refused(
    run: Run, studied: StudyPaths, project: Project
) -> None:
    before = {label: paths_of(project, label).sessions.stat().st_mtime_ns for label in RUNS}
    studied.document.unlink()
    again = run(*OPTIONS)
    assert again.exit_code == 0, again.output
    assert again.stderr.count("finished before") == len(RUNS)
    assert {label: paths_of(project, label).sessions.stat().st_mtime_ns for label in RUNS} == before
    assert studied.document.is_file()
    other = run(*OPTIONS, "--seed", 5)
    assert (other.exit_code, "cannot be resumed: split was" in other.stderr) == (2, True)


def test_tasks_of_another_part_do_not_verify(run: Run, studied: StudyPaths, project: Project) -> None:
    assert run("lineage", "pairs", f"{STUDY}-{RUNS[1]}", "--verify").exit_code == 0
    teach, held_out = (paths_of(project, label) for label in RUNS[:2])
    lines = [json.loads(line) for line in held_out.tasks.read_text().splitlines()]
    lines[0]["conversation"] = json.loads(teach.tasks.read_text().splitlines()[0])["conversation"]
    held_out.tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = run("lineage", "pairs", f"{STUDY}-{RUNS[1]}", "--verify")
    assert found.exit_code == 1


@pytest.mark.whole
def test_the_job_of_the_ui_resumes_it_too(studied: StudyPaths, project: Project) -> None:
    studied.document.unlink()
    config = StudyConfig(arms=["off", "on"], repeats=1, run=STUDY)
    with open_instance(project) as instance:
        job = defs.resolve_job_def(STUDY_JOB)
        options = dg.RunConfig(ops={"learning_study": config})
        done = job.execute_in_process(instance=instance, partition_key="pairs", run_config=options)
        (made,) = done.asset_materializations_for_node("learning_study")
        refused = dg.RunConfig(ops={"learning_study": StudyConfig(arms=["on"], run=STUDY)})
        with pytest.raises(dg.Failure, match="A study compares the arm on with"):
            job.execute_in_process(instance=instance, partition_key="pairs", run_config=refused)
    assert made.metadata["study"].value == STUDY
    assert studied.document.is_file()
