"""Dagster's Celery application with the settings without which a lost worker loses its step.

    celery -A crm_assets.orchestration.celery_worker worker --concurrency 4

With Celery's defaults a step whose worker is killed is lost, and its run stays "started" for ever. Workers
must have these settings; in a run's configuration they do nothing.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.worker.control import inspect_command
from dagster_celery.app import app as _dagster_app

from crm_assets.defs.executors import BACKEND_VARIABLE, BROKER_VARIABLE
from crm_assets.harness import MODEL_CODE, code_fingerprint

__all__ = ["LONGEST_STEP_SECONDS", "REQUIRED", "app", "crm_assets_facts"]

LONGEST_STEP_SECONDS = 1800
"""A step that Redis has not heard of for so long is delivered again; RabbitMQ's default is the same."""

REQUIRED = {"task_acks_late": True, "task_reject_on_worker_lost": True, "worker_prefetch_multiplier": 1}
"""Settings of every worker: a step is delivered again if its worker is lost, and nobody hoards steps."""

app: Celery = _dagster_app
app.conf.update(
    REQUIRED,
    broker_url=os.environ.get(BROKER_VARIABLE) or app.conf.broker_url,
    result_backend=os.environ.get(BACKEND_VARIABLE) or "rpc://",
    broker_transport_options={
        **(app.conf.broker_transport_options or {}),
        "visibility_timeout": LONGEST_STEP_SECONDS,
    },
    broker_connection_retry_on_startup=True,
)


@inspect_command(name="crm_assets_facts")  # type: ignore[untyped-decorator]
def crm_assets_facts(state: Any) -> dict[str, str]:
    """Return what a worker must have in common with the others: the code that decides results."""
    return {"code": code_fingerprint(MODEL_CODE)}
