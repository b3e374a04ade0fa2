"""Keys: canaries in the environment, providers that quote them, and everything that a run leaves read."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.errors import ConfigError
from crm_assets.llm import ModelClient, RetryPolicy
from crm_assets.orchestration.materialize import LineageOptions, materialize_on
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from tests.atlas.loop import (
    KEY,
    Loop,
    loop_project,
    models_at,
    offline_models,
    role_of,
    small_dataset,
    telemetry_rows,
)
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, broken, refused
from tests.projects import ProjectDatabases

SECRETS = {
    "GEMINI_API_KEY": "canary-gemini-4711",
    "SERVICE_TOKEN": "canary-token-4711",
    "DB_PASSWORD": "canary-password-4711",
}
DOCUMENTS = small_dataset(2)


def quoting(request: Recorded, status: int) -> Scripted:
    """A refusal that quotes all that it was sent."""
    key = str(dict(request.headers))
    return refused(status, f"you sent {key}", headers={"x-echo": key[:99]}, code=key)


class Provider:
    """A provider that now and then quotes its caller's key, and refuses some roles for good."""

    def __init__(self, *, learner: int) -> None:
        self._for_good = {"teacher": 400, "learner": learner}
        self._asked = 0

    def __call__(self, request: Recorded) -> Scripted:
        self._asked += 1
        if status := self._for_good.get(role_of(request)):
            return quoting(request, status)
        if self._asked % 5 == 0:
            return quoting(request, 500)
        if self._asked % 7 == 0:
            return broken({"choices": "none", str(dict(request.headers)): 1})
        return offline_models(request)


class Leavings:
    """Everything that can be read once a run is over."""

    def __init__(
        self, loop: Loop, log: pytest.LogCaptureFixture, output: pytest.CaptureFixture[str]
    ) -> None:
        self._loop, self._log, self._output = loop, log, output
        self.said: list[str] = []
        log.set_level(logging.DEBUG)

    def all(self) -> dict[str, str]:
        found = {
            str(path): path.read_bytes().decode(errors="replace")
            for path in self._loop.project.root.rglob("*")
            if path.is_file() and path.name != ".env"
        }
        out, err = self._output.readouterr()
        return {
            **found,
            "telemetry": telemetry_rows(self._loop),
            "log": self._log.text,
            "stdout": out,
            "stderr": err,
            "said": "".join(self.said),
        }

    def check(self) -> dict[str, str]:
        """No canary is anywhere."""
        everything = self.all()
        for place, text in everything.items():
            for secret in (KEY, *SECRETS.values()):
                assert secret not in text, f"a key is in {place}"
        return everything


@pytest.fixture
def loop(project_databases: ProjectDatabases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    monkeypatch.setattr(
        "crm_assets.atlas.model_run.ModelClient", lambda *a, **k: ModelClient(*a, **k, retries=FAST)
    )
    with loop_project(project_databases, **SECRETS) as made:
        yield made


FAST = RetryPolicy(base_seconds=0.001)


@pytest.fixture
def leavings(loop: Loop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Leavings:
    return Leavings(loop, caplog, capfd)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_run_with_errors_leaves_no_key_anywhere(loop: Loop, leavings: Leavings):
    with ScriptedServer(Provider(learner=400)) as server:
        files = loop.tasks(DOCUMENTS)
        loop.run(files, loop.config(models_at(server.url)))
        assert KEY in str(server.requests[0].headers)  # it did get the key
    lines = loop.lines(files)
    assert {line["status"] for line in lines} == {"succeeded"}
    everything = leavings.check()
    assert "refused the request: you sent" in everything[str(files.sessions)]
    assert "refused the request: you sent" in everything["telemetry"]
    assert "[redacted]" in everything[str(files.ledger)]


def test_a_refused_key_is_not_said_either(loop: Loop, leavings: Leavings):
    with ScriptedServer(Provider(learner=401)) as server:
        files = loop.tasks(DOCUMENTS)
        with pytest.raises(ConfigError, match="is not open to the key in OPENAI_API_KEY") as raised:
            loop.run(files, loop.config(models_at(server.url)))
    leavings.said.append("".join(traceback.format_exception(raised.value)))
    everything = leavings.check()
    assert "is not open to the key" in everything["telemetry"]
    assert not files.sessions.exists()
    # Once the key is good, the run goes on.
    with ScriptedServer(offline_models) as server:
        assert loop.run(files, loop.config(models_at(server.url))).infrastructure_errors == 0


@pytest.mark.parametrize("learner", [400, 401])
def test_dagster_does_not_hear_of_a_key(
    loop: Loop, leavings: Leavings, monkeypatch: pytest.MonkeyPatch, learner: int
):
    monkeypatch.setenv("CRM_ASSETS_HOME", str(loop.project.root))
    loop.tasks(DOCUMENTS)  # for the dataset
    key = BaselineKey.of("dev", "20260131T093000Z")
    with ScriptedServer(Provider(learner=learner)) as server, dg.DagsterInstance.ephemeral() as instance:
        config: Path = loop.config(models_at(server.url))
        options = LineageOptions(SessionPlan(config=config, concurrency=2))
        try:
            materialize_on(instance, loop.project, key, options)
        except ConfigError as error:
            assert learner == 401
            leavings.said.append("".join(traceback.format_exception(error)))
        [run] = instance.get_runs()
        leavings.said += [str(run), *map(repr, instance.all_logs(run.run_id))]
    everything = leavings.check()
    assert "atlas_sessions" in everything["said"]
    assert BaselinePaths.of(loop.project, key).finished is (learner == 400)
