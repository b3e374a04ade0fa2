"""`crm-assets cluster check` without a broker; tests/orchestration/test_celery.py has one with workers."""

from __future__ import annotations

import socket

import orjson
import pytest

from crm_assets import __version__
from crm_assets.cli.cluster import diagnose_cluster
from crm_assets.cli.doctor import Diagnosis
from crm_assets.database import ServerSettings, read_environment
from crm_assets.defs.celery_workers import REQUIRED, Worker, WorkerFacts
from crm_assets.harness import MODEL_CODE, code_fingerprint
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project

from .conftest import Run

SECRET = "secret-word"


def test_without_broker_and_tcp_it_says_what_to_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRM_ASSETS_BROKER", raising=False)
    result = run("cluster", "check", "--json")
    assert result.exit_code == 1
    found = {line["what"]: line for line in orjson.loads(result.stdout)}
    for name in ("sandbox", "telemetry", "dagster"):
        assert found[f"database {name}"]["state"] == "broken"
        assert "is a unix socket" in found[f"database {name}"]["finding"]
    assert found["broker"]["state"] == "broken"
    assert "CRM_ASSETS_BROKER names none" in found["broker"]["finding"]
    assert found["artifacts"]["state"] == "note"
    plain = run("cluster", "check")
    assert plain.exit_code == 1
    assert len(plain.stdout.splitlines()) == len(found)


def test_the_embedded_server_is_named_and_not_started(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DB_HOST", "STORAGE__DATABASE_URL", "DAGSTER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    found = {item.what: item for item in diagnose_cluster(project)}
    assert "embedded server" in found["database dagster"].finding
    assert "set DB_HOST" in found["database dagster"].finding
    assert not project.state.exists()


@pytest.mark.parametrize("scheme", ["pyamqp", "redis"])
def test_a_broker_that_does_not_answer_is_told_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = closed.getsockname()[1]
        monkeypatch.setenv("CRM_ASSETS_BROKER", f"{scheme}://someone:{SECRET}@127.0.0.1:{port}/0")
        result = run("cluster", "check")
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}" in result.stdout
    assert "does not answer" in result.stdout
    assert SECRET not in result.output


def test_what_is_no_broker_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_ASSETS_BROKER", f"nowhere://someone:{SECRET}@host")
    result = run("cluster", "check")
    assert result.exit_code == 1
    assert "must be the address of a broker" in result.stdout
    assert SECRET not in result.output


def facts(**different: object) -> Worker:
    """A worker on Redis, as it would describe itself, since real ones take seconds to start."""
    same: dict[str, object] = {
        "version": __version__,
        "code": code_fingerprint(MODEL_CODE),
        "settings": REQUIRED,
        "visibility_timeout": 1800,
        "artifacts": "a",
        "project": None,
        "databases": {},
    }
    return Worker("one@host", WorkerFacts.model_validate(same | different))


@pytest.mark.parametrize(
    ("different", "what", "says"),
    [
        ({"visibility_timeout": 1200}, "visibility_timeout", "Redis would deliver it to a second worker"),
        ({"settings": {**REQUIRED, "task_acks_late": False}}, "worker one@host", "task_acks_late is False"),
        (
            {"settings": {**REQUIRED, "worker_prefetch_multiplier": 4}},
            "worker one@host",
            "worker_prefetch_multiplier is 4, not 1: it takes steps that others could begin",
        ),
        ({"version": "0.0.1"}, "worker one@host", "its version is 0.0.1"),
        ({"code": "0" * 64}, "worker one@host", "its code is 00000000"),
        ({"databases": {"dagster": "elsewhere:5432/d"}}, "worker one@host", "dagster is elsewhere:5432/d"),
        ({"project": "another"}, "artifacts", "one@host has another folder"),
    ],
)
def test_a_worker_that_differs_is_told(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    different: dict[str, object],
    what: str,
    says: str,
) -> None:
    monkeypatch.setenv("CRM_ASSETS_BROKER", "redis://127.0.0.1")
    places = ServerSettings.from_environment(read_environment(project)).places
    same = {
        "artifacts": str(project.artifacts),
        "project": project_id(project),
        "databases": {name: str(place) for name, place in places.items()},
    }

    def look(worker: Worker) -> Diagnosis:
        monkeypatch.setattr("crm_assets.defs.celery_workers.ask_workers", lambda *_, **__: [worker])
        return {item.what: item for item in diagnose_cluster(project)}[what]

    assert look(facts(**same)).state == "ok"
    found = look(facts(**same | different))
    assert (found.state, says in found.finding) == ("broken", True), found
