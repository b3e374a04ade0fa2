"""Required settings of Celery's workers, and the facts that workers tell of themselves.

With Celery's defaults a step whose worker is killed is lost, and its run stays "started" for ever. The
settings count in the workers only; in a run's configuration they do nothing.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import ConfigError, InfrastructureError, first_line

__all__ = [
    "FACTS_COMMAND",
    "LONGEST_STEP_SECONDS",
    "REQUIRED",
    "START_COMMAND",
    "Worker",
    "WorkerFacts",
    "ask_workers",
    "broker_address",
    "refuse_careless_workers",
]

LONGEST_STEP_SECONDS = 1800
"""A step that Redis has not heard of for so long is delivered again; RabbitMQ's default is the same."""

REQUIRED = {"task_acks_late": True, "task_reject_on_worker_lost": True, "worker_prefetch_multiplier": 1}
"""Settings of every worker: a step is delivered again if its worker is lost, and nobody hoards steps."""

_AGAINST_LOSS = ("task_acks_late", "task_reject_on_worker_lost")

START_COMMAND = "celery -A crm_assets.orchestration.celery_worker worker"
"""Starts a worker that has them."""

FACTS_COMMAND = "crm_assets_facts"
"""Celery's remote control command that workers answer with `WorkerFacts`."""

_QUICK_SECONDS = 1.0


class WorkerFacts(BaseModel):
    """Facts that a worker tells of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    """Of crm_assets."""
    code: str
    """Fingerprint of the code that decides results."""
    settings: dict[str, Any]
    """Its values of `REQUIRED`."""
    visibility_timeout: float | None
    """Seconds after which Redis delivers again what the worker has not acknowledged."""
    artifacts: str
    """Folder or URL of its artifacts."""
    project: str | None
    """Identity of the project in that folder; None for a URL, and before the first run."""
    databases: dict[str, str]
    """Address of each logical database: host, port and name."""

    @property
    def wrong_settings(self) -> list[str]:
        """Return the names of those of `REQUIRED` that it has otherwise."""
        return [name for name, value in REQUIRED.items() if self.settings.get(name) != value]

    @property
    def may_lose_steps(self) -> bool:
        """Return True if a step is lost with the process that it runs in."""
        return any(name in _AGAINST_LOSS for name in self.wrong_settings)


class Worker(NamedTuple):
    """A worker that answers."""

    name: str
    facts: WorkerFacts | None
    """None: it was started with another application than ours, has another version of it, or failed."""
    error: str = ""
    """Reason, in its own words, for which there are no facts."""


def broker_address(broker: str) -> str:
    """Return the address of a broker without its password.

    Raises:
        ConfigError: it is no address of a broker.
    """
    from kombu.connection import Connection  # noqa: PLC0415  (optional)

    try:
        return str(Connection(broker).as_uri())  # type: ignore[no-untyped-call]
    except (KeyError, ValueError, ImportError) as error:
        raise _no_address() from error


def ask_workers(broker: str, *, seconds: float) -> list[Worker]:
    """Return the workers that answer, by name.

    Args:
        broker: its address.
        seconds: time for their answers; it always passes in full.

    Raises:
        ConfigError: `broker` is no address of a broker.
        InfrastructureError: the broker does not answer.
    """
    from celery import Celery  # noqa: PLC0415  (optional)
    from celery.app.control import flatten_reply  # noqa: PLC0415
    from kombu.exceptions import KombuError  # noqa: PLC0415

    where = broker_address(broker)
    application = Celery("crm_assets", broker=broker, set_as_current=False)
    with closing(application), application.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
            answers = application.control.broadcast(
                FACTS_COMMAND, reply=True, timeout=seconds, connection=connection
            )
        except (OSError, KombuError, *connection.connection_errors, *connection.channel_errors) as error:
            raise InfrastructureError(
                f"The broker at {where} does not answer ({first_line(error)}); start it or correct "
                "CRM_ASSETS_BROKER."
            ) from error
        except ImportError as error:
            raise _no_address() from error
    return [_read(name, reply) for name, reply in sorted(flatten_reply(answers or []).items())]


def refuse_careless_workers(broker: str) -> None:
    """Refuse a run whose steps a worker that answers may lose; workers may come later, so none are fine.

    Raises:
        ConfigError: there is such a worker, or `broker` is no address.
        InfrastructureError: the broker does not answer.
    """
    careless = [
        worker.name
        for worker in ask_workers(broker, seconds=_QUICK_SECONDS)
        if worker.facts is None or worker.facts.may_lose_steps
    ]
    if careless:
        raise ConfigError(
            f"Steps may be lost on {', '.join(careless)}: stop what runs there and start "
            f"`{START_COMMAND}` of this version. crm-assets cluster check tells what is wrong."
        )


def _read(name: str, reply: Any) -> Worker:
    try:
        return Worker(name, WorkerFacts.model_validate(reply))
    except ValidationError:
        # Celery's reply to a command that it does not know, or that failed; or an older version's.
        error = reply.get("error") if isinstance(reply, dict) else None
        return Worker(name, None, str(error or "other facts than those of this version"))


def _no_address() -> ConfigError:
    return ConfigError(
        "CRM_ASSETS_BROKER must be the address of a broker, like pyamqp://user:password@host/vhost or "
        "redis://host:6379/0."
    )
