"""What the daemon watches, a tick at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from crm_assets.atlas.plan import SessionPlan
from crm_assets.definitions import defs
from crm_assets.defs.assets.conversations import is_observed
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.sensors import datasets, failed_runs, finished_baselines
from crm_assets.generator import write_dataset
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, refresh_history
from crm_assets.reporting.history import HistoryPaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

KEY = BaselineKey.of("small", "20260131T093000Z")
REPLAY = LineageOptions(SessionPlan(agent="replay"))


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, and one dataset in the project."""
    write_dataset(project.dataset_file("small"), 3, seed=11)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    """Evaluate a tick as the daemon does, and apply what it asks for."""
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=defs,
        sensor_name=sensor.name,
        resources=defs.get_repository_def().get_top_level_resources(),
    )
    with context, partition_loading_context(dynamic_partitions_store=instance):
        data = sensor.evaluate_tick(context)
    for request in data.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    for event in data.asset_events:
        instance.report_runless_asset_event(event)
    return data


def known(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.get_dynamic_partitions("crm_dataset"))


def test_new_datasets_become_partitions_and_are_observed_and_nothing_is_launched(
    instance: dg.DagsterInstance, project: Project
) -> None:
    write_dataset(project.dataset_file("other"), 2, seed=1)
    (project.conversations / "Not A Key.jsonl").write_text("{}\n")
    data = tick(datasets, instance)
    assert known(instance) == ["other", "small"]
    assert data.run_requests == []
    assert "2 new" in data.skip_message
    for name in ("other", "small"):
        assert is_observed(instance, name, sha256_of_file(project.dataset_file(name)))


def test_what_has_not_changed_is_not_observed_again(instance: dg.DagsterInstance, project: Project) -> None:
    first = tick(datasets, instance)
    second = tick(datasets, instance, first.cursor)
    assert (second.asset_events, second.dynamic_partitions_requests) == ([], [])
    project.dataset_file("small").touch()
    assert tick(datasets, instance, second.cursor).asset_events == [], "the same content is no news"
    write_dataset(project.dataset_file("small"), 3, seed=12)
    changed = tick(datasets, instance, second.cursor)
    assert [event.partition for event in changed.asset_events] == ["small"]
    assert is_observed(instance, "small", sha256_of_file(project.dataset_file("small")))


def test_a_dataset_that_went_away_keeps_its_partition(
    instance: dg.DagsterInstance, project: Project
) -> None:
    first = tick(datasets, instance)
    project.dataset_file("small").unlink()
    tick(datasets, instance, first.cursor)
    assert known(instance) == ["small"]


def test_a_finished_baseline_asks_for_the_history_of_its_dataset_once(
    instance: dg.DagsterInstance, project: Project
) -> None:
    assert "No baseline" in tick(finished_baselines, instance).skip_message
    for run in ("20260131T093000Z", "20260131T093001Z"):
        materialize_on(instance, project, BaselineKey.of("small", run), REPLAY)
    data = tick(finished_baselines, instance)
    (request,) = data.run_requests
    assert request.partition_key == "small"
    assert tick(finished_baselines, instance, data.cursor).run_requests == []


def test_a_history_that_the_command_line_made_is_not_made_again(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, REPLAY)
    refresh_history(instance, "small")
    assert HistoryPaths.of(project, "small").document.is_file()
    assert "have these baselines already" in tick(finished_baselines, instance).skip_message


def test_a_history_that_waits_in_the_queue_is_not_asked_for_again(
    instance: dg.DagsterInstance, project: Project
) -> None:
    materialize_on(instance, project, KEY, REPLAY)
    waiting = instance.create_run_for_job(
        defs.resolve_job_def("history"),
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags={"dagster/partition": "small"},
    )
    assert tick(finished_baselines, instance).run_requests == []
    instance.report_run_canceled(waiting)
    (request,) = tick(finished_baselines, instance).run_requests
    assert request.partition_key == "small"


class Webhook:
    """An HTTP server that keeps what it is sent."""

    def __init__(self, status: int) -> None:
        received: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.headers["Content-Type"], json.loads(body)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0K3N"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def webhook(request: pytest.FixtureRequest) -> Iterator[Webhook]:
    server = Webhook(getattr(request, "param", 200))
    yield server
    server.close()


def failing_run(instance: dg.DagsterInstance, project: Project, sentence: str) -> dg.DagsterRun:
    """A run of the lineage that fails with `sentence`."""
    project.dataset_file("small").write_text(sentence + "\n")
    with pytest.raises(Exception, match="small"):
        materialize_on(instance, project, KEY, REPLAY)
    return instance.get_runs()[0]


def report(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Any:
    """Call the sensor with a run's failure, as the daemon does."""
    (failure,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert failure.dagster_event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="failed_runs",
        dagster_event=failure.dagster_event,
        dagster_instance=instance,
        dagster_run=run,
    ).for_run_failure()
    return failed_runs(context, artifacts=ArtifactsResource())  # type: ignore[call-arg]


def test_a_failed_run_is_told_to_the_webhook(
    instance: dg.DagsterInstance, project: Project, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", webhook.url)
    monkeypatch.setenv("OPENAI_API_KEY", "conversation_id")
    run = failing_run(instance, project, "{}")
    assert report(instance, run) is None
    ((kind, document),) = webhook.received
    assert kind == "application/json"
    assert document["run_id"] == run.run_id
    assert document["partition"] == str(KEY)
    assert document["job"] == "baseline"
    assert "small.jsonl" in document["error"]
    assert document["text"].startswith(f"Run {run.run_id} (baseline of {KEY}) failed: ")
    assert "conversation_id" not in json.dumps(document), "a key is in it"
    assert "[redacted]" in document["error"]


@pytest.mark.parametrize("webhook", [500], indirect=True)
def test_a_webhook_that_refuses_is_told_without_its_token(
    instance: dg.DagsterInstance, project: Project, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", webhook.url)
    run = failing_run(instance, project, "{}")
    with pytest.raises(dg.Failure) as raised:
        report(instance, run)
    assert "did not accept the alert" in str(raised.value.description)
    assert "HTTP 500" in str(raised.value.description)
    assert "T0K3N" not in str(raised.value.description)
    assert len(webhook.received) == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [("http://127.0.0.1:9/hook", "Connection refused"), ("not a url", "must be an http")],
)
def test_a_webhook_that_is_not_there_is_told(
    instance: dg.DagsterInstance,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
    run = failing_run(instance, project, "{}")
    with pytest.raises(dg.Failure) as raised:
        report(instance, run)
    assert sentence in str(raised.value.description)


def test_without_a_webhook_nobody_is_told(instance: dg.DagsterInstance, project: Project) -> None:
    run = failing_run(instance, project, "{}")
    assert "ALERT_WEBHOOK_URL is not set" in str(report(instance, run).skip_message)
