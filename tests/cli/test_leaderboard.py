"""`crm-assets leaderboard`, and the asset."""

from __future__ import annotations

import json

from crm_assets.definitions import defs
from crm_assets.defs.assets import leaderboard
from crm_assets.defs.jobs import LEADERBOARD_JOB
from crm_assets.defs.partitions import register_dataset
from crm_assets.orchestration.materialize import open_instance
from crm_assets.reporting.leaderboard.board import dataset_board
from crm_assets.reporting.leaderboard.files import LeaderboardPaths
from crm_assets.workspace.project import Project

from .conftest import Finish, Run


def test_a_dataset_without_runs_has_no_board(run: Run) -> None:
    without = run("leaderboard", "small")
    assert without.exit_code == 2 and "crm-assets baseline --dataset small" in without.stderr
    assert run("leaderboard").exit_code == 2
    unknown = run("leaderboard", "nowhere")
    assert unknown.exit_code == 2 and "There is no dataset 'nowhere'" in unknown.stderr


def test_the_command_and_the_asset_write_the_same_page(run: Run, finish: Finish, project: Project) -> None:
    finish("noop")
    for names in ((), ("small",)):
        shown = run("leaderboard", *names)
        assert shown.exit_code == 0, shown.output
        assert "A  noop" in shown.stdout and "One system alone, on 6 conversations" in shown.stdout
    paths = LeaderboardPaths.of(project, dataset_board(project, "small"))
    written = paths.readme.read_text(), paths.report.read_text()
    assert json.loads(run("leaderboard", "small", "--json").stdout)["datasets"] == ["small"]
    with open_instance(project) as instance:
        register_dataset(instance, "small")
        job = defs.resolve_job_def(LEADERBOARD_JOB)
        assert job.execute_in_process(instance=instance, partition_key="small").success
        event = instance.get_latest_materialization_event(leaderboard.key)
    assert event is not None and event.asset_materialization is not None
    headline = event.asset_materialization.metadata["headline"].value
    assert headline == "1 system on 6 conversations: nothing to compare"
    assert (paths.readme.read_text(), paths.report.read_text()) == written
