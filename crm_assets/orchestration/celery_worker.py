"""Dagster's Celery application with the settings without which a lost worker loses its step.

celery -A crm_assets.orchestration.celery_worker worker --concurrency 4
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from celery.worker.control import inspect_command
from dagster_celery.app import app as _dagster_app

from crm_assets import __version__
from crm_assets.database import ServerSettings, read_environment
from crm_assets.defs.celery_workers import FACTS_COMMAND, LONGEST_STEP_SECONDS, REQUIRED, WorkerFacts
from crm_assets.defs.executors import BACKEND_VARIABLE, BROKER_VARIABLE
from crm_assets.harness import MODEL_CODE, code_fingerprint
from crm_assets.workspace.identity import known_project_id
from crm_assets.workspace.project import find_project

__all__ = ["app", "crm_assets_facts"]

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


@worker_init.connect  # type: ignore[untyped-decorator]
def _hash_code(**_: Any) -> None:
    """Hash the code before the worker's processes are forked, which need it too, and before anyone asks."""
    code_fingerprint(MODEL_CODE)


@inspect_command(name=FACTS_COMMAND)  # type: ignore[untyped-decorator]
def crm_assets_facts(state: Any) -> dict[str, Any]:
    """Return `WorkerFacts`: this worker's settings, and what it must have in common with the others."""
    conf, project = state.app.conf, find_project()
    facts = WorkerFacts(
        version=__version__,
        code=code_fingerprint(MODEL_CODE),
        settings={
            **{name: conf[name] for name in REQUIRED},
            # The command's option --prefetch-multiplier does not change `conf`.
            "worker_prefetch_multiplier": state.consumer.controller.prefetch_multiplier,
        },
        visibility_timeout=(conf.broker_transport_options or {}).get("visibility_timeout"),
        artifacts=project.artifacts_url or str(project.artifacts),
        project=None if project.artifacts_url else known_project_id(project),
        databases={
            name: str(place)
            for name, place in ServerSettings.from_environment(read_environment(project)).places.items()
        },
    )
    return facts.model_dump(mode="json")
