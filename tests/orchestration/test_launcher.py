"""Whether the processes of Dagster's runs are still there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import GrpcServerProcess

from crm_assets.orchestration.launcher import PROCESS_TAG, ProjectRunLauncher, this_process
from crm_assets.orchestration.materialize import open_instance
from crm_assets.workspace.project import Project


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """The project's own instance, whose `dagster.yaml` names the launcher."""
    with open_instance(project) as instance:
        yield instance


def status(instance: dg.DagsterInstance, tags: dict[str, str]) -> WorkerStatus:
    launcher = instance.run_launcher
    assert isinstance(launcher, ProjectRunLauncher)
    assert launcher.supports_check_run_worker_health
    run = instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
    return launcher.check_run_worker_health(run).status


@dg.op
def do_nothing() -> None: ...


@dg.job
def nothing() -> None:
    do_nothing()


def served_by(**where: object) -> dict[str, str]:
    """The tags of a run that a code server started."""
    return {".dagster/grpc_info": json.dumps({"host": "localhost", **where})}


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_of_the_command_line_lives_as_long_as_its_process(instance: dg.DagsterInstance) -> None:
    host = socket.gethostname()
    assert status(instance, {PROCESS_TAG: this_process()}) == WorkerStatus.RUNNING
    assert status(instance, {PROCESS_TAG: f"{host}:{dead_process()}"}) == WorkerStatus.NOT_FOUND
    assert status(instance, {PROCESS_TAG: f"elsewhere:{dead_process()}"}) == WorkerStatus.RUNNING
    assert str(os.getpid()) in this_process()


def test_a_run_whose_code_server_is_gone_is_lost(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert status(instance, served_by(socket=str(tmp_path / "gone"))) == WorkerStatus.NOT_FOUND


def test_a_run_that_its_code_server_does_not_know_is_lost(instance: dg.DagsterInstance) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.py"
        source.write_text("import dagster as dg\ndefs = dg.Definitions()\n")
        origin = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(source))
        with GrpcServerProcess(
            instance.get_ref(), loadable_target_origin=origin, wait_on_exit=True
        ) as server:
            client = server.create_client()
            where = {"port": client.port} if client.port else {"socket": client.socket}
            assert status(instance, served_by(**where)) == WorkerStatus.NOT_FOUND


def test_a_code_server_that_gives_no_good_answer_is_not_taken_for_gone(
    instance: dg.DagsterInstance,
) -> None:
    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(1))  # answers nothing that it is asked
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        assert status(instance, served_by(port=port)) == WorkerStatus.RUNNING
    finally:
        server.stop(None)


def test_a_run_of_which_nothing_is_known_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert status(instance, {}) == WorkerStatus.RUNNING
