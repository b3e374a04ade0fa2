"""Lets the UI show runs of the command line under their job, and on its timeline."""

from __future__ import annotations

import sys

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

__all__ = ["JOB_TAGS", "put_under_job"]

_LOCATION = "crm_assets"  # as workspace.yaml names it
_MODULE = "crm_assets.definitions"

JOB_TAGS = {REPOSITORY_LABEL_TAG: f"{SINGLETON_REPOSITORY_NAME}@{_LOCATION}"}
"""Tags by which the page of a job finds its runs."""


def put_under_job(instance: dg.DagsterInstance, run_id: str, job: str) -> None:
    """Record which job of the code location a finished run was of, for the timeline.

    For runs that have succeeded: the daemon takes a failed run of a job for its own, and starts it again.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    target = LoadableTargetOrigin(module_name=_MODULE, executable_path=sys.executable)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=_LOCATION)
    repository = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
    instance.run_storage.replace_job_origin(run, RemoteJobOrigin(repository, job))
