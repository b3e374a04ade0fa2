"""Two Celery workers share a baseline: each session once, also where one of their processes is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import orjson
import psutil
import psycopg
import pytest
from dagster import InitExecutorContext
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

from crm_assets.cli.cluster import diagnose_cluster
from crm_assets.database import connect_databases
from crm_assets.defs.celery_workers import ask_workers
from crm_assets.defs.executors import BROKER_VARIABLE, make_executor
from crm_assets.defs.jobs import BASELINE_JOB
from crm_assets.defs.partitions import register
from crm_assets.errors import ConfigError
from crm_assets.generator import write_dataset
from crm_assets.llm import read_ledger
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.atlas.loop import models_at, offline_models
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer
from tests.waiting import eventually

pytestmark = pytest.mark.whole

COUNT = 12
RETRIES = {"retries": {"enabled": {}}}
KEY = BaselineKey.of("small", "20260131T093000Z")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A virtual host of its own on the RabbitMQ server of this machine."""
    if shutil.which("rabbitmqctl") is None:
        pytest.skip("there is no RabbitMQ server: install rabbitmq-server and start it")
    name = f"tests-{uuid4().hex[:8]}"
    made = subprocess.run(["rabbitmqctl", "add_vhost", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("the RabbitMQ server of this machine does not answer, or not to this user")
    try:
        allow = ["rabbitmqctl", "set_permissions", "-p", name, "guest", ".*", ".*", ".*"]
        subprocess.run(allow, capture_output=True, check=True)
        yield f"pyamqp://guest:guest@127.0.0.1/{name}"
    finally:
        subprocess.run(["rabbitmqctl", "delete_vhost", name], capture_output=True, check=True)


@contextmanager
def worker(
    project: Project,
    name: str,
    *options: str,
    application: str = "crm_assets.orchestration.celery_worker",
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that takes a step at a time."""
    command = [sys.executable, "-m", "celery", "-A", application]
    command += ["-b", os.environ["CRM_ASSETS_BROKER"], "worker"]
    command += ["--concurrency", "1", "-n", f"{name}@%h", "--without-mingle", "--without-gossip", *options]
    with (project.root / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=project.root)
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture
def environment(project: Project, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_ASSETS_BROKER", broker)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def job() -> ReconstructableJob:
    pointer = ModuleCodePointer("crm_assets.definitions", "defs", os.getcwd())
    return ReconstructableJob(ReconstructableRepository(pointer), BASELINE_JOB)


RUN = """
import dagster as dg, sys, orjson
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.project import find_project
from tests.orchestration.test_celery import job
config, tags = orjson.loads(sys.argv[1]), orjson.loads(sys.argv[2])
with open_instance(find_project()) as instance:
    with dg.execute_job(job(), instance, run_config=config, tags=tags, raise_on_error=False) as done:
        sys.exit(not done.success)
"""


def test_a_killed_process_of_a_worker_costs_nothing_but_time(project: Project, environment: None) -> None:
    write_dataset(project.dataset_file("small"), COUNT, seed=11)
    paths = BaselinePaths.of(project, KEY)
    held: list[Recorded] = []

    def slow(request: Recorded) -> Scripted:
        held.append(request)
        return offline_models(request)

    with ScriptedServer(slow) as server, ExitStack() as stack:
        config = project.configs / "student.yaml"
        config.write_bytes(orjson.dumps(models_at(server.url)))
        workers = [stack.enter_context(worker(project, name)) for name in ("one", "two")]
        with open_instance(project) as instance:
            partition = register(instance, KEY)
        options = {"agent": "student", "config": str(config), "concurrency": 1, "shards": 4}
        run_config = {
            "execution": {"config": {"celery": {}}},
            "ops": {
                "atlas_tasks": {"config": {"agent": "student", "config": str(config)}},
                "atlas_sessions": {"config": {**options, "accept_cost": True}},
            },
        }
        tags = {
            "dagster/partition": str(partition),
            "dagster/partition/dataset": "small",
            "dagster/partition/run": str(KEY.run),
        }
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, orjson.dumps(run_config).decode(), orjson.dumps(tags).decode()],
            cwd=project.root,
        )
        stack.callback(run.kill)
        assert eventually(lambda: len(held) > 2 or run.poll() is not None)
        assert run.poll() is None
        (child,) = psutil.Process(workers[0].pid).children()
        child.send_signal(signal.SIGKILL)
        assert run.wait() == 0
        asked = len(server.requests)
    sessions = [orjson.loads(line)["task_id"] for line in paths.sessions.read_bytes().splitlines()]
    tasks = [orjson.loads(line)["task_id"] for line in paths.tasks.read_bytes().splitlines()]
    assert sessions == tasks
    assert paths.finished
    # Only the call that was under way in the killed process may have been asked twice.
    booked = sum(1 for _ in read_ledger(paths.ledger))
    assert COUNT <= booked <= asked <= booked + 1
    with psycopg.connect(connect_databases(project).leases) as connection:
        for table in ("crm_assets_shards", "crm_assets_claims"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # type: ignore[arg-type]


def test_a_worker_that_may_lose_steps_is_told_and_no_run_starts_on_it(
    project: Project, environment: None, broker: str
) -> None:
    executor = make_executor({BROKER_VARIABLE: broker})
    create = executor.executor_creation_fn
    assert create is not None

    def names() -> set[str]:
        return {each.name.partition("@")[0] for each in ask_workers(broker, seconds=1)}

    with open_instance(project) as instance, ExitStack() as stack:
        context = InitExecutorContext(
            job(), executor, {"celery": {"backend": "rpc://", **RETRIES}}, instance
        )
        stack.enter_context(worker(project, "ours", "--prefetch-multiplier", "2"))
        assert eventually(lambda: names() == {"ours"})
        create(context)
        stack.enter_context(worker(project, "careless", application="dagster_celery.app"))
        assert eventually(lambda: names() == {"ours", "careless"})
        found = {item.what.partition("@")[0]: item for item in diagnose_cluster(project)}
        with pytest.raises(ConfigError, match="Steps may be lost on careless@"):
            create(context)
    # It hoards steps, which keeps no run from starting: `create` took it.
    assert "worker_prefetch_multiplier is 2, not 1" in found["worker ours"].finding, found
    assert found["worker careless"].state == "broken"
    assert "crm_assets_facts" in found["worker careless"].finding  # a command that it does not know
    assert found["broker"].state == found["artifacts"].state == "ok", found
    # It can be read here: the fixture needs rabbitmqctl on the broker's machine, too.
    assert found["consumer_timeout"].finding.endswith(" s"), found
