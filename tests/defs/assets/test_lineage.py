"""The lineage, run by Dagster from the dataset to the README."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import dagster as dg
import orjson
import pytest

import crm_assets.defs.assets.sessions as sessions_module
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.task_run import TaskRun
from crm_assets.conversations import DatasetError
from crm_assets.definitions import defs
from crm_assets.defs.assets import conversations
from crm_assets.defs.jobs import BASELINE_JOB
from crm_assets.defs.partitions import register
from crm_assets.errors import CrmAssetsError, InfrastructureError, InputError
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import (
    CheckFailed,
    LineageOptions,
    materialize,
    materialize_on,
    open_instance,
)
from crm_assets.workspace.baseline_files import BaselinePaths, plan_run
from crm_assets.workspace.files import read_json, sha256_of_file
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.transcripts import transcripts_url
from tests.defs.assets.conftest import CONVERSATIONS
from tests.projects import ProjectDatabases, Snapshots, fresh_project

Finish = Callable[[], object]

REPLAY = LineageOptions(SessionPlan(agent="replay"))
AGAIN = LineageOptions(SessionPlan(agent="replay"), overwrite=True)
FILES = [
    *("README.md", "manifest.json", "metrics.json", "plan.json", "plots", "report.html"),
    *("revision.json", "run.json", "sessions.jsonl", "tasks.jsonl"),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def latest(instance: dg.DagsterInstance, asset: str, partition: object) -> dg.AssetMaterialization:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(partition)]), limit=1
    ).records
    assert records, f"{asset} was never materialized"
    materialization = records[0].asset_materialization
    assert materialization is not None
    return materialization


@pytest.fixture
def finish(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, snapshots: Snapshots
) -> Finish:
    """Brings the project into the state in which `key` is finished."""
    return lambda: snapshots.bring(
        project, "lineage", lambda: materialize_on(instance, project, key, REPLAY)
    )


class Made(NamedTuple):
    """A finished baseline, to be looked at."""

    project: Project
    instance: dg.DagsterInstance
    paths: BaselinePaths

    def shown(self, asset: str) -> Mapping[str, dg.MetadataValue]:
        """Return the metadata of an asset."""
        return latest(self.instance, asset, self.paths.key).metadata


@pytest.fixture(scope="module")
def made(project_databases: ProjectDatabases, drawn_once: object) -> Iterator[Made]:
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh_project(project_databases, patch) as project,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        patch.setattr("crm_assets.reporting.plots.drawing._drawn", drawn_once)
        write_dataset(project.dataset_file("small"), CONVERSATIONS, seed=11)
        done = materialize_on(instance, project, BaselineKey.of("small", "20260131T093000Z"), REPLAY)
        yield Made(project, instance, done.paths)


def test_the_whole_lineage_on_the_projects_own_instance(project: Project, key: BaselineKey) -> None:
    done = materialize(project, key, REPLAY)

    assert sorted(file.name for file in done.paths.folder.iterdir()) == FILES
    metrics = read_json(done.paths.metrics)
    assert metrics["total_conversations"] == metrics["harness_successes"] == CONVERSATIONS
    assert metrics["run_id"] == key.run_id
    assert metrics["dataset_revision"] == sha256_of_file(project.dataset_file("small"))
    assert {"crm-assets", "python"} <= metrics["software"].keys()
    assert not Path(metrics["tasks_path"]).is_absolute()
    with open_instance(project) as instance:
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        assert run.is_success
        assert run.tags["dagster/partition"] == str(key)
        assert run.tags["crm_assets/process"].endswith(f":{os.getpid()}")
        origin = run.remote_job_origin  # by which the timeline of the UI finds it
        assert origin is not None
        assert (origin.job_name, origin.location_name) == ("baseline", "crm_assets")
        assert instance.get_dynamic_partitions("crm_dataset") == ["small"]
        history = latest(instance, "baseline_history", "small")
        assert history.metadata["runs"].value == 1
        assert type(instance._event_storage).__name__ != "SqliteEventLogStorage"


def test_every_file_is_materialized_with_its_hash_as_data_version(made: Made) -> None:
    project, instance, paths = made
    for asset, file in {
        "dataset_revision": paths.revision,
        "atlas_tasks": paths.tasks,
        "atlas_sessions": paths.sessions,
        "baseline_metrics": paths.metrics,
        "baseline_readme": paths.readme,
    }.items():
        materialization = latest(instance, asset, paths.key)
        digest = sha256_of_file(file)
        # The revision's version is the dataset's: a commit more is no change of the data.
        version = sha256_of_file(project.dataset_file("small")) if asset == "dataset_revision" else digest
        assert materialization.tags is not None
        assert materialization.tags["dagster/data_version"] == version
        assert materialization.metadata["sha256"].value == digest
        assert materialization.metadata["path"].value == str(file)


def test_the_dataset_is_described_and_observed(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey
) -> None:
    materialize_on(instance, project, key, REPLAY, stages=["dataset_revision"])
    metadata = latest(instance, "dataset_revision", key).metadata
    assert metadata["conversations"].value == CONVERSATIONS
    assert metadata["ground_truth_replayed"].value is True
    assert metadata["ground_truth_failures"].value == 0
    assert sum(metadata["by_workflow"].value.values()) == CONVERSATIONS
    record = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=conversations.key, asset_partitions=["small"]), limit=1
    ).records[0]
    observation = record.asset_observation
    assert observation is not None
    assert observation.tags["dagster/data_version"] == sha256_of_file(project.dataset_file("small"))


def test_ground_truth_that_does_not_replay_is_in_the_metadata(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey
) -> None:
    document = lines(project.dataset_file("small"))[0]
    document["turns"] = [
        {
            "turn_id": 1,
            "user_utterance": "Delete it.",
            "expected_tool": "delete_quote",
            "expected_args": {"quote_id": "00000000-0000-4000-8000-000000000000"},
        }
    ]
    document["segment_boundaries"] = None
    project.dataset_file("small").write_bytes(orjson.dumps(document) + b"\n")
    materialize_on(instance, project, key, REPLAY, stages=["dataset_revision"])
    metadata = latest(instance, "dataset_revision", key).metadata
    assert metadata["ground_truth_failures"].value == 1
    assert document["conversation_id"] in str(metadata["examples"].value["ground_truth_failures"])


def test_the_readme_is_in_the_metadata(made: Made) -> None:
    metadata = made.shown("baseline_readme")
    shown, details = (str(metadata[name].value) for name in ("readme", "readme_details"))
    assert made.paths.readme.read_text().startswith(f"{shown}\n{details}")
    assert "## Results" in shown
    assert "## Rates" in details
    picture = metadata["success_by_complexity"]
    assert isinstance(picture, dg.MarkdownMetadataValue)
    assert "](data:image/png;base64," in str(picture.value)


def test_the_readme_shows_its_pictures_and_the_report_stands_alone(made: Made) -> None:
    paths = made.paths
    shown = re.findall(r"\]\((plots/\w+\.svg)\)", paths.readme.read_text())
    assert "plots/success_by_workflow.svg" in shown
    assert sorted(shown) == sorted(
        file.relative_to(paths.folder).as_posix() for file in (paths.folder / "plots").iterdir()
    )
    report = (paths.folder / "report.html").read_text()
    assert report.count("<svg") == len(shown)
    assert "plots/" not in report
    assert not re.findall(r'src="', report)
    links = re.findall(r'href="(?!#)([^"]*)', report)
    assert all(href.startswith(transcripts_url(paths.key)) for href in links)


def test_tasks_carry_the_run_and_a_limit_holds_to_the_end(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, paths: BaselinePaths
) -> None:
    materialize_on(instance, project, key, LineageOptions(SessionPlan(agent="noop"), limit=2))
    tasks = lines(paths.tasks)
    assert [task["run_id"] for task in tasks] == [key.run_id] * 2
    assert all(task["task_id"].endswith(f"::{key.run_id}") for task in tasks)
    metrics = read_json(paths.metrics)
    assert metrics["total_conversations"] == 2
    assert metrics["harness_successes"] == 0
    assert metrics["agent_config"]["name"] == "noop"


def test_a_finished_baseline_is_kept_unless_it_is_to_be_overwritten(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    finish: Callable[[], None],
) -> None:
    finish()
    before = contents(paths.folder)
    for stages in (["dataset_revision"], ["atlas_tasks"], ["atlas_sessions"], None):
        with pytest.raises(InputError, match="is finished and protected"):
            materialize_on(instance, project, key, LineageOptions(SessionPlan(agent="noop")), stages=stages)
    assert contents(paths.folder) == before

    materialize_on(instance, project, key, LineageOptions(SessionPlan(agent="noop"), overwrite=True))
    assert read_json(paths.metrics)["agent_config"]["name"] == "noop"


def test_metrics_and_readme_can_be_made_again(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    finish: Callable[[], None],
) -> None:
    finish()
    metrics = paths.metrics.read_bytes()
    paths.metrics.unlink()
    paths.readme.unlink()
    materialize_on(instance, project, key, REPLAY, stages=["baseline_metrics", "baseline_readme"])
    assert paths.metrics.read_bytes() == metrics
    assert paths.readme.exists()


def test_overwriting_leaves_no_file_of_the_old_run(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    finish: Callable[[], None],
) -> None:
    finish()
    materialize_on(
        instance,
        project,
        key,
        AGAIN,
        stages=["atlas_tasks"],
    )
    assert sorted(file.name for file in paths.folder.iterdir()) == ["revision.json", "tasks.jsonl"]


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("atlas_tasks", "dataset_revision"),
        ("atlas_sessions", "atlas_tasks"),
        ("baseline_metrics", "atlas_sessions"),
        ("baseline_readme", "baseline_metrics"),
    ],
)
def test_a_stage_without_the_one_before_says_which_is_missing(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, stage: str, missing: str
) -> None:
    with pytest.raises(InputError, match=f"materialize {missing}"):
        materialize_on(instance, project, key, REPLAY, stages=[stage])


@pytest.mark.parametrize(
    ("datasets", "made"), [(("other",), False), (("other", "small"), True), ((), True)]
)
def test_a_backfill_makes_no_run_that_was_planned_for_other_datasets_only(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    *,
    datasets: tuple[str, ...],
    made: bool,
) -> None:
    for dataset in datasets:
        plan_run(project, BaselineKey(dataset, key.run))
    result = defs.resolve_job_def(BASELINE_JOB).execute_in_process(
        instance=instance,
        partition_key=register(instance, key),
        asset_selection=[dg.AssetKey("dataset_revision")],
        tags={"dagster/backfill": "abcdefgh"},
        raise_on_error=False,
    )
    assert result.success == BaselinePaths.of(project, key).revision.exists() == made
    if not made:
        (failure,) = (event.step_failure_data for event in result.get_step_failure_events())
        assert f"`crm-assets runs new --dataset small --run {key.run}`" in str(failure.user_failure_data)


def test_a_malformed_dataset_ends_the_run_before_anything_is_written(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, paths: BaselinePaths
) -> None:
    with project.dataset_file("small").open("ab") as handle:
        handle.write(b'{"conversation_id": 7}\nnot json\n')
    with pytest.raises(DatasetError) as raised:
        materialize_on(instance, project, key, REPLAY)
    assert {finding.line for finding in raised.value.findings} == {CONVERSATIONS + 1, CONVERSATIONS + 2}
    assert not paths.folder.exists()


def test_a_malformed_dataset_does_not_cost_a_finished_baseline(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    finish: Callable[[], None],
) -> None:
    finish()
    project.dataset_file("small").write_text("not json\n")
    with pytest.raises(DatasetError):
        materialize_on(instance, project, key, AGAIN)
    assert sorted(file.name for file in paths.folder.iterdir()) == FILES


def test_a_dataset_that_changed_since_its_revision_stops_the_run(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, paths: BaselinePaths
) -> None:
    materialize_on(instance, project, key, REPLAY, stages=["dataset_revision"])
    write_dataset(project.dataset_file("small"), CONVERSATIONS, seed=12)
    with pytest.raises(CheckFailed, match="Dataset small has changed"):
        materialize_on(instance, project, key, REPLAY, stages=["atlas_tasks", "atlas_sessions"])
    assert not paths.sessions.exists()


def test_a_missing_session_stops_the_run(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = TaskRun.merge

    def lossy(run: TaskRun, *given: Any) -> Any:
        merged = real(run, *given)
        sessions = run.files.sessions
        sessions.write_bytes(b"".join(sessions.read_bytes().splitlines(keepends=True)[:-1]))
        return merged

    monkeypatch.setattr(TaskRun, "merge", lossy)
    with pytest.raises(CheckFailed, match=r"sessions_match_tasks: small\|\w+: 1 of 6 tasks have no"):
        materialize_on(instance, project, key, REPLAY)
    assert not paths.metrics.exists()


def test_infrastructure_that_fails_is_told_as_such_and_may_be_tried_again(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise InfrastructureError("The disk is full.")

    monkeypatch.setattr(TaskRun, "take", broken)
    with pytest.raises(InfrastructureError, match="The disk is full"):
        materialize_on(instance, project, key, REPLAY)
    monkeypatch.undo()


@pytest.mark.parametrize(("error", "again"), [(InfrastructureError("x"), True), (InputError("x"), False)])
def test_only_infrastructure_is_worth_a_retry(error: CrmAssetsError, again: bool) -> None:
    from crm_assets.defs.stages import expected_errors

    with pytest.raises(dg.Failure) as raised, expected_errors():
        raise error
    assert raised.value.description == "x"
    assert raised.value.allow_retries is again


def test_ctrl_c_stops_the_run_and_leaves_nothing_half_written(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)

    with monkeypatch.context() as patch:
        patch.setattr(TaskRun, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            materialize_on(instance, project, key, REPLAY)
    kept = ["plan.json", "revision.json", "tasks.jsonl"]
    assert sorted(file.name for file in paths.folder.iterdir()) == kept
    assert not instance.get_runs()[0].is_success

    materialize_on(instance, project, key, REPLAY)
    assert sorted(file.name for file in paths.folder.iterdir()) == FILES


def test_an_agent_that_does_not_exist_is_a_sentence(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey
) -> None:
    with pytest.raises(InputError, match="agent: Input should be 'atlas', 'student'"):
        materialize_on(instance, project, key, LineageOptions(SessionPlan(agent=cast(Any, "psychic"))))


def test_observing_the_datasets_gives_their_hashes(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey
) -> None:
    instance.add_dynamic_partitions("crm_dataset", ["small", "gone"])
    job = defs.resolve_implicit_job_def_def_for_assets([conversations.key])
    assert job is not None
    assert job.execute_in_process(instance=instance, asset_selection=[conversations.key]).success
    records = instance.fetch_observations(conversations.key, limit=10).records
    observed = {record.partition_key: record.asset_observation for record in records}
    assert observed.keys() == {"small"}
    assert observed["small"] is not None
    assert observed["small"].tags["dagster/data_version"] == sha256_of_file(project.dataset_file("small"))


def test_numbers_that_dagster_plots_are_those_of_the_files(made: Made) -> None:
    metrics = read_json(made.paths.metrics)
    metadata = made.shown("baseline_metrics")
    for name in ("strict_success", "state_match"):
        assert metadata[name].value == metrics[name]["value"]
    assert metadata["seconds_per_conversation"].value == metrics["duration_seconds"]["mean"]
    assert "reward_mean" not in metadata, "nobody judged, and that is no reward of 0"
    assert "cost_usd" not in metadata
    sessions = made.shown("atlas_sessions")
    assert sessions["sessions"].value == CONVERSATIONS
    assert isinstance(sessions["seconds"].value, float)


@pytest.mark.parametrize("groups", ["by_workflow", "by_complexity"])
def test_the_metrics_show_a_table_by_workflow_and_one_by_complexity(made: Made, groups: str) -> None:
    table = made.shown("baseline_metrics")[groups]
    assert isinstance(table, dg.TableMetadataValue)
    assert {row.data["name"]: row.data["n"] for row in table.records} == {
        name: group["conversations"] for name, group in read_json(made.paths.metrics)[groups].items()
    }


def test_sessions_that_the_infrastructure_stopped_are_gone_on_with(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, starts = TaskRun.take, []

    def flaky(run: TaskRun, *given: Any) -> Any:
        files = run.files
        starts.append(files.partial.exists())
        if len(starts) == 1:
            files.partial.write_bytes(b"")
            raise InfrastructureError("The database went away.")
        files.partial.unlink()
        return real(run, *given)

    monkeypatch.setattr(TaskRun, "take", flaky)
    monkeypatch.setattr(sessions_module, "_PAUSE_SECONDS", 0.0)
    materialize_on(
        instance, project, key, LineageOptions(SessionPlan(agent="replay"), overwrite=True, retries=1)
    )
    assert starts == [False, True], "what was done was thrown away before the second attempt"
    assert read_json(paths.metrics)["harness_successes"] == CONVERSATIONS


def test_retries_end_and_wrong_input_is_not_tried_again(
    instance: dg.DagsterInstance, project: Project, key: BaselineKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, attempts in ((InfrastructureError("It is down."), 3), (InputError("It is wrong."), 1)):
        starts = []

        def broken(*_: Any, error: Exception = error, starts: list[int] = starts, **__: Any) -> None:
            starts.append(1)
            raise error

        monkeypatch.setattr(TaskRun, "take", broken)
        monkeypatch.setattr(sessions_module, "_PAUSE_SECONDS", 0.0)
        with pytest.raises(type(error), match=str(error)):
            materialize_on(instance, project, key, LineageOptions(SessionPlan(agent="replay"), retries=2))
        assert len(starts) == attempts


def test_the_headline_has_its_bounds_where_verdicts_are_missing(
    instance: dg.DagsterInstance,
    project: Project,
    key: BaselineKey,
    paths: BaselinePaths,
) -> None:
    materialize_on(instance, project, key, REPLAY)
    sessions = lines(paths.sessions)
    for session in sessions[:3]:
        session["status"] = session["conversation_result"]["status"] = "failed"
        session["conversation_result"].update(
            status="infrastructure_error", error_message="down", overall_success=None, state_match=None
        )
    paths.sessions.write_bytes(b"".join(orjson.dumps(session) + b"\n" for session in sessions))
    materialize_on(instance, project, key, REPLAY, stages=["baseline_metrics"])
    metadata = latest(instance, "baseline_metrics", key).metadata
    headline = str(metadata["headline"].value)
    assert headline.startswith("100.0% strict success (3 of 3; 95% ") and len(headline) <= 60
    assert metadata["bounds"].value == "between 50.0% and 100.0%: 3 without a verdict"
    assert (metadata["strict_success_worst"].value, metadata["strict_success_best"].value) == (0.5, 1.0)
