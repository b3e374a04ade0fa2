"""Starts Dagster's runs as it does by default, and knows afterwards whether their processes still live.

Dagster's own launcher leaves a run "started" for ever when the process that it ran in is killed together
with its code server. It then holds its place in the queue, and nothing says so. `dagster.yaml` names this
class, so that run monitoring can see it, fail the run and have it retried.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from crm_assets.concurrency import process_lives

if TYPE_CHECKING:
    from dagster._grpc.client import DagsterGrpcClient

__all__ = ["PROCESS_TAG", "ProjectRunLauncher", "this_process"]

PROCESS_TAG = "crm_assets/process"
"""Tag of runs that the command line runs in its own process: `<host>:<process ID>`."""


def this_process() -> str:
    """Return the value of `PROCESS_TAG` for runs in this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class ProjectRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, with an eye on what it has started."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Return True: run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of `run` is alive; in doubt it is."""
        if PROCESS_TAG in run.tags:
            return _of_process(run.tags[PROCESS_TAG])
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        return CheckRunHealthResult(WorkerStatus.RUNNING) if client is None else _of_server(client, run)


def _of_process(tag: str) -> CheckRunHealthResult:
    host, _, process = tag.rpartition(":")
    if host == socket.gethostname() and process.isdigit() and not process_lives(int(process)):
        return _lost(f"process {process} of the command line")
    return CheckRunHealthResult(WorkerStatus.RUNNING)


def _of_server(client: DagsterGrpcClient, run: DagsterRun) -> CheckRunHealthResult:
    """Ask the code server that started the run."""
    from dagster._grpc.types import (  # noqa: PLC0415  (brings gRPC along)
        CanCancelExecutionRequest,
        CanCancelExecutionResult,
    )
    from dagster._serdes import deserialize_value  # noqa: PLC0415

    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10)
    except DagsterUserCodeUnreachableError as error:
        if _is_unavailable(error):
            return _lost("the code server that started it")
        return CheckRunHealthResult(WorkerStatus.RUNNING)  # busy, perhaps
    if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return _lost("its process")


def _is_unavailable(error: DagsterUserCodeUnreachableError) -> bool:
    from grpc import StatusCode  # type: ignore[import-untyped]  # noqa: PLC0415

    cause: Any = error.__cause__
    return callable(getattr(cause, "code", None)) and cause.code() == StatusCode.UNAVAILABLE


def _lost(what: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"{what} is gone")
