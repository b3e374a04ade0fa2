"""The UI as a person uses it: the graph, a run, its metadata and checks, a backfill, the history."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData, TickStatus
from playwright.sync_api import expect

from crm_assets.cli.ui import port_is_free
from crm_assets.defs.assets import LINEAGE, baseline_history, conversations
from crm_assets.defs.schedules import nightly_baselines
from crm_assets.orchestration.materialize import open_instance
from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.transcripts import VIEW_PORT
from tests.waiting import eventually

from . import person
from .conftest import CONVERSATIONS, Stage
from .serving import crm_assets, environment, graphql, offered_datasets, transcripts_served

pytestmark = pytest.mark.whole

RUN = "20260131T093000Z-first"
_DAY_SECONDS = 86_400
_START = """mutation { startSchedule(scheduleSelector: {
  repositoryLocationName: "crm_assets", repositoryName: "__repository__", scheduleName: "nightly_baselines"
}) { ... on ScheduleStateResult { scheduleState { status } } } }"""
MORE = ["20260201T093000Z-second", "20260202T093000Z-third"]
KINDS = {
    "conversations": {"jsonl"},
    "dataset_revision": {"json", "Postgres"},
    "atlas_tasks": {"jsonl"},
    "atlas_sessions": {"jsonl", "Postgres", "litellm"},
    "baseline_metrics": {"json", "pandas"},
    "baseline_readme": {"markdown", "html"},
    "baseline_history": {"json", "markdown"},
}


@pytest.fixture(scope="module")
def first_run(stage: Stage) -> str:
    """A baseline that was materialized in the UI: its run's ID."""
    # The daemon finds new files by itself; a page that is loaded again and again would keep it from that.
    assert eventually(lambda: "small" in offered_datasets(stage.view.address), every_seconds=0.5)
    with stage.view.page(f"{person.JOB_PAGE}/baseline") as page:
        dialog = person.open_materialize(page)
        dialog = person.add_runs(page, dialog, [RUN])
        person.choose(page, dialog, ["small"])
        person.choose(page, dialog, [RUN])
        run_id = person.launched(page, dialog, re.compile("^Launch 1 run$"))
        person.wait_for_success(page)
        return run_id


@pytest.fixture(scope="module")
def backfill(stage: Stage, first_run: str) -> str:
    """A backfill of two runs that was started in the UI, and is through: its ID."""
    with stage.view.page(f"{person.GROUP_PAGE}/baseline") as page:
        dialog = person.open_materialize(page)
        dialog = person.add_runs(page, dialog, MORE)
        person.choose(page, dialog, ["small"])
        person.choose(page, dialog, MORE)
        backfill_id = person.launched(page, dialog, re.compile("^Launch (backfill|2 runs)$"))
        person.wait_for_backfill(page)
        return backfill_id


def description(asset: str) -> str:
    """The first words of what an asset says it is."""
    assets = {one.key.to_user_string(): one for one in [*LINEAGE, baseline_history]}
    if asset in assets:
        text = assets[asset].descriptions_by_key[assets[asset].key]
    else:
        text = conversations.description or ""
    return text.split("\n")[0].split("`")[0].strip()


@pytest.mark.parametrize(
    ("group", "assets"),
    [("baseline", set(KINDS) - {"baseline_history"}), ("history", {"baseline_history"})],
    ids=["baseline", "history"],
)
def test_the_graph_of_a_group_shows_its_assets_with_kinds_and_descriptions(
    stage: Stage, group: str, assets: set[str]
) -> None:
    # Wide enough for the graph to be drawn with everything in it.
    with stage.view.page(f"{person.GROUP_PAGE}/{group}", width=3400) as page:
        for asset in sorted(assets):
            node = person.node(page, asset)
            expect(node).to_be_visible()
            for kind in KINDS[asset]:
                expect(node.get_by_text(kind, exact=True)).to_be_visible()
        for asset in sorted(assets):
            page.goto(f"{page.url.split('/lineage/')[0]}/lineage/{asset}")
            expect(page.get_by_text(description(asset)).first).to_be_visible()


def test_text_that_is_no_key_is_refused_before_anything_is_launched(stage: Stage, first_run: str) -> None:
    with stage.view.page(f"{person.JOB_PAGE}/baseline") as page:
        dialog = person.open_materialize(page)
        dialog.get_by_text("Add a partition", exact=True).nth(1).click()
        page.get_by_placeholder("name").fill("yesterday")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("'yesterday' is not a run key: use a UTC time").first).to_be_visible()


def test_a_partition_is_materialized_from_the_ui(stage: Stage, first_run: str) -> None:
    paths = BaselinePaths.of(stage.project, BaselineKey.of("small", RUN))
    assert paths.finished
    assert paths.readme.is_file()
    with stage.view.page(f"/runs/{first_run}") as page:
        expect(page.get_by_text(f"partition: small|{RUN}").first).to_be_visible()
        expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()


def test_the_metrics_show_headline_numbers_and_tables(stage: Stage, first_run: str) -> None:
    with stage.view.page(f"/assets/baseline_metrics?view=partitions&partition=small|{RUN}") as page:
        expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
        expect(person.row(page, "headline")).to_contain_text(
            re.compile(r"\d% strict success \(\d+ of 6; 95% ")
        )
        expect(person.row(page, "conversations")).to_contain_text(str(CONVERSATIONS))
        for table, heading in (("rates", "strict_success"), ("by_complexity", "complex")):
            expect(person.row(page, table).get_by_role("table")).to_contain_text(heading)
        expect(person.row(page, "by_workflow").get_by_role("table")).to_contain_text("Management")


def test_the_metrics_are_plotted_over_the_runs(stage: Stage, first_run: str) -> None:
    with stage.view.page("/assets/baseline_metrics") as page:
        page.get_by_role("button", name="Plots").click()
        for name in ("strict_success", "state_match", "reward_mean", "tokens", "cost_usd"):
            expect(page.get_by_text(name, exact=True).first).to_be_visible()
        expect(page.locator("canvas").first).to_be_visible()


def test_the_readme_is_rendered_and_its_pictures_load(stage: Stage, first_run: str) -> None:
    with stage.view.page("/assets/baseline_readme") as page:
        readme = person.show_markdown(page, "readme")
        expect(readme.get_by_role("heading", name="Results")).to_be_visible()
        expect(readme.get_by_role("heading").first).to_be_in_viewport()  # it opens at its top
        person.close(page, readme)
        details = person.show_markdown(page, "readme_details")
        expect(details.get_by_role("table").first).to_be_visible()
        person.close(page, details)
        for name in ("success_by_complexity", "success_by_workflow", "learning_curve"):
            picture = person.show_markdown(page, name)
            assert person.picture_width(picture) > 0
            person.close(page, picture)


def test_the_link_to_the_transcripts_opens_them(stage: Stage, first_run: str) -> None:
    pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")
    if not port_is_free(VIEW_PORT):
        pytest.skip(f"port {VIEW_PORT}, where such links lead, is in use")
    with (
        transcripts_served(stage.project),
        stage.view.page("/assets/baseline_readme") as page,
        page.expect_popup() as opened,
    ):
        page.get_by_role("link", name=f":{VIEW_PORT}/small/{RUN}").first.click()
        shown = opened.value
        expect(shown.get_by_text(f"{CONVERSATIONS} Samples", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("asset", "checks"),
    [
        ("dataset_revision", ["dataset_audit"]),
        ("atlas_tasks", ["dataset_unchanged", "tasks_match_dataset"]),
        ("atlas_sessions", ["leakage_check", "sessions_match_tasks", "telemetry_matches_sessions"]),
        ("baseline_metrics", ["cost_within_budget", "missing_verdicts"]),
    ],
)
def test_the_checks_of_the_run_are_shown_passed(
    stage: Stage, first_run: str, asset: str, checks: list[str]
) -> None:
    with stage.view.page(f"/assets/{asset}?view=checks") as page:
        for check in checks:
            page.get_by_text(check, exact=True).first.click()
            expect(
                page.get_by_role("heading", name=check).or_(page.get_by_text(check)).last
            ).to_be_visible()
            expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
            expect(page.get_by_text(f"small|{RUN}").first).to_be_visible()


def test_a_backfill_of_two_runs_makes_both(stage: Stage, backfill: str) -> None:
    for key in MORE:
        assert BaselinePaths.of(stage.project, BaselineKey.of("small", key)).finished
    with stage.view.page(f"/runs/b/{backfill}?tab=runs") as page:
        for key in MORE:
            expect(page.get_by_text(f"small|{key}").first).to_be_visible()
        expect(page.get_by_text("Success", exact=True)).to_have_count(2)


def test_the_history_follows_by_itself_with_its_table_and_picture(stage: Stage, backfill: str) -> None:
    document = HistoryPaths.of(stage.project, "small").document

    def is_made() -> bool:
        return document.is_file() and len(read_json(document)["runs"]) == 1 + len(MORE)

    assert eventually(is_made, every_seconds=0.5)
    with stage.view.page("/assets/baseline_history") as page:
        person.reload_until(page, lambda: person.row(page, "runs").get_by_text("3", exact=True).count() > 0)
        table = person.row(page, "table").get_by_role("table")
        for key in (RUN, *MORE):
            expect(table).to_contain_text(key)
        expect(person.row(page, "newest_vs_before")).to_contain_text("points (95% interval")
        expect(person.row(page, "comparison")).to_contain_text(
            re.compile(r"Strict success|\[Show Markdown\]")
        )
        assert person.picture_width(person.show_markdown(page, "progression")) > 0


def test_a_run_of_the_command_line_is_under_its_job(stage: Stage, backfill: str) -> None:
    run = "20260203T093000Z-shell"
    replay = ("baseline", "--dataset", "small", "--agent", "replay", "--limit", "1")
    crm_assets(stage.project, *replay, "--run", run)
    with stage.view.page(f"{person.JOB_PAGE}/baseline/runs") as page:
        expect(page.get_by_text(f"small|{run}").first).to_be_visible()


def test_the_daemon_evaluates_the_nights_schedule(
    stage: Stage, backfill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(stage.project).items():
        monkeypatch.setenv(name, value)
    answer: Any = graphql(stage.view.address, _START)
    assert answer["startSchedule"]["scheduleState"]["status"] == "RUNNING"
    with open_instance(stage.project) as instance:
        (state,) = (each for each in instance.all_instigator_state() if each.name == nightly_baselines.name)
        # As if somebody had started it yesterday: the last night is made up for.
        data = ScheduleInstigatorData(nightly_baselines.cron_schedule, time.time() - _DAY_SECONDS)
        instance.update_instigator_state(state.with_data(data))
        ticks: list[Any] = []

        def has_ticked() -> bool:
            ticks[:] = instance.get_ticks(state.instigator_origin_id, state.selector_id)
            return any(tick.status is not TickStatus.STARTED for tick in ticks)

        assert eventually(has_ticked, every_seconds=1.0)
    (tick,) = ticks
    assert tick.status is TickStatus.SKIPPED, tick.error
    assert "small: nothing changed since" in tick.tick_data.skip_reason
