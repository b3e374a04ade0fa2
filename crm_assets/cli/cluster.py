"""`crm-assets cluster`: whether several machines can share a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.doctor import Diagnosis, examine_artifacts, examined, print_diagnoses
from crm_assets.errors import InfrastructureError, last_line
from crm_assets.workspace.project import ARTIFACTS_VARIABLE, Project, find_project

if TYPE_CHECKING:
    from crm_assets.database import DatabasePlace
    from crm_assets.defs.celery_workers import Worker, WorkerFacts

__all__ = ["cluster", "diagnose_cluster"]

_Found = tuple[Literal["ok", "note", "broken"], str]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANSWER_SECONDS = 3.0
_CONSUMER_TIMEOUT = "application:get_env(rabbit, consumer_timeout)."
"""Erlang's expression for it."""
_TCP = "set DB_HOST to a Postgres that all machines reach over TCP"


@click.group()
def cluster() -> None:
    """Check whether several machines can share a run."""


@cluster.command()
@json_option
def check(*, as_json: bool) -> None:
    """Check databases, broker, workers and artifacts, a line each. Exit code 1 if one is broken."""
    diagnoses = diagnose_cluster(find_project())
    if not as_json:
        print_diagnoses(diagnoses)
        return
    found = list(diagnoses)
    print_json([diagnosis._asdict() for diagnosis in found])
    if any(diagnosis.state == "broken" for diagnosis in found):
        click.get_current_context().exit(1)


def diagnose_cluster(project: Project) -> Iterator[Diagnosis]:
    """Yield the state of each thing that machines must share, as seen from this one."""
    from crm_assets.database import ServerSettings, read_environment
    from crm_assets.workspace.identity import project_id

    places = ServerSettings.from_environment(read_environment(project)).places
    for name, place in places.items():
        yield examined(f"database {name}", partial(_database, name=name, place=place), project)
    if project.artifacts_url is None:
        project_id(project)  # made before workers are asked for theirs
    workers: list[Worker] = []
    # As Dagster and the workers have it: not from .env.
    broker = os.environ.get("CRM_ASSETS_BROKER") or None
    yield examined("broker", partial(_broker, broker=broker, workers=workers), project)
    if broker and urlsplit(broker).scheme in ("amqp", "pyamqp", "amqps"):
        yield examined("consumer_timeout", partial(_consumer_timeout, broker=broker), project)
    elif workers:
        yield examined("visibility_timeout", partial(_visibility_timeout, workers=workers), project)
    for worker in workers:
        yield examined(f"worker {worker.name}", partial(_worker, worker=worker), project)
    if project.artifacts_url is not None:
        yield examined("artifacts", examine_artifacts, project)
    else:
        yield examined("artifacts", partial(_folder, workers=workers), project)


def _database(project: Project, *, name: str, place: DatabasePlace) -> _Found:
    import psycopg

    from crm_assets.database import connect_databases

    if place.host is None:
        return "broken", f"on the embedded server, which other machines cannot reach: {_TCP}."
    if not place.over_tcp:
        return "broken", f"{place} is a unix socket, which other machines cannot reach: {_TCP}."
    databases = connect_databases(project)
    address = {
        "sandbox": databases.sandbox,
        "telemetry": databases.telemetry,
        "dagster": databases.leases,
    }[name]
    try:
        with psycopg.connect(address, connect_timeout=10) as connection:
            version = connection.info.parameter_status("server_version")
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"{place} does not answer ({last_line(error)}); start it or correct its variables "
            "(docs/databases.md)."
        ) from None  # psycopg's own text may hold parts of the address
    if place.host in _LOOPBACK:
        return "note", f"{place} answers, but by this name on this machine alone."
    return "ok", f"{place} answers, PostgreSQL {version}"


def _broker(_: Project, *, broker: str | None, workers: list[Worker]) -> _Found:
    """Tell whether the broker answers, and add the workers that do to `workers`."""
    if broker is None:
        return "broken", (
            "CRM_ASSETS_BROKER names none; export it here and for all other processes, as in "
            "pyamqp://user:password@host/vhost (.env is not read for it)."
        )
    try:
        from crm_assets.defs.celery_workers import START_COMMAND, ask_workers, broker_address

        workers += ask_workers(broker, seconds=_ANSWER_SECONDS)
    except ModuleNotFoundError as error:
        return "broken", f"{error.name} is not installed: pip install crm-assets[celery]"
    where = broker_address(broker)
    if not workers:
        return "broken", (
            f"{where} answers, but no worker did within {_ANSWER_SECONDS:g} s; start one: {START_COMMAND}"
        )
    return "ok", f"{where} answers, and so does each worker below"


def _consumer_timeout(_: Project, *, broker: str) -> _Found:
    from crm_assets.defs.celery_workers import LONGEST_STEP_SECONDS

    elsewhere = urlsplit(broker).hostname not in (None, *_LOOPBACK)
    program = None if elsewhere else shutil.which("rabbitmqctl")
    read = None if program is None else _read_consumer_timeout(program)
    if read is None:
        return "note", (
            f"cannot be read from here; it must be {LONGEST_STEP_SECONDS * 1000} (the default) or more. On "
            f"the broker's machine: rabbitmqctl eval '{_CONSUMER_TIMEOUT}'"
        )
    if read == "undefined":
        return "ok", "none: RabbitMQ waits for as long as a step takes"
    milliseconds = int(read)
    if milliseconds < LONGEST_STEP_SECONDS * 1000:
        return "broken", (
            f"{milliseconds / 1000:g} s: RabbitMQ delivers longer steps again while they run; set "
            f"consumer_timeout = {LONGEST_STEP_SECONDS * 1000} or more in rabbitmq.conf."
        )
    return "ok", f"{milliseconds / 1000:g} s"


def _read_consumer_timeout(program: str) -> str | None:
    """Return milliseconds or `undefined`, as RabbitMQ on this machine says; None if it tells us nothing."""
    try:
        done = subprocess.run(  # noqa: S603  (found on PATH, with arguments that are fixed)
            [program, "-q", "eval", _CONSUMER_TIMEOUT],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    answer = done.stdout.strip().removeprefix("{ok,").removesuffix("}")
    return answer if done.returncode == 0 and (answer == "undefined" or answer.isdecimal()) else None


def _visibility_timeout(_: Project, *, workers: list[Worker]) -> _Found:
    from crm_assets.defs.sessions_config import SessionsConfig

    pass_seconds = 60 * float(SessionsConfig.model_fields["shard_minutes"].default)
    told = [worker.facts.visibility_timeout for worker in workers if worker.facts]
    seconds = [timeout for timeout in told if timeout is not None]
    if len(seconds) < len(workers):
        return "note", "not every worker tells its own; see their lines"
    if min(seconds) <= pass_seconds:
        return "broken", (
            f"{min(seconds):g} s, and a shard works for {pass_seconds:g} s (shard_minutes): Redis would "
            "deliver it to a second worker while it runs. Raise it in the workers' transport options."
        )
    return "ok", f"{min(seconds):g} s, longer than a shard works ({pass_seconds:g} s, shard_minutes)"


def _worker(project: Project, *, worker: Worker) -> _Found:
    from crm_assets.defs.celery_workers import REQUIRED, START_COMMAND

    if worker.facts is None:
        return "broken", (
            "may lose steps: it runs another application than ours, another version of it, or cannot tell "
            f"(its answer: {worker.error}); stop it and start `{START_COMMAND}` of this version."
        )
    facts = worker.facts
    if wrong := facts.wrong_settings:
        values = ", ".join(f"{name} is {facts.settings.get(name)}, not {REQUIRED[name]}" for name in wrong)
        harm = "steps may be lost" if facts.may_lose_steps else "it takes steps that others could begin"
        return "broken", f"{values}: {harm}; start it as `{START_COMMAND}` without changing these."
    if different := _differences(project, facts):
        return "broken", f"{'; '.join(different)}. Give it what this machine has, or the other way round."
    return "ok", f"version {facts.version}, code {facts.code[:8]}, databases and artifacts as here"


def _differences(project: Project, facts: WorkerFacts) -> list[str]:
    """Return what a worker has otherwise than this machine, a clause each."""
    from crm_assets import __version__
    from crm_assets.database import ServerSettings, read_environment
    from crm_assets.harness import MODEL_CODE, code_fingerprint

    code = code_fingerprint(MODEL_CODE)
    places = ServerSettings.from_environment(read_environment(project)).places
    here = {
        "version": (facts.version, __version__),
        "code": (facts.code[:8], code[:8]),
        "artifacts": (facts.artifacts, project.artifacts_url or facts.artifacts),
        **{f"database {name}": (facts.databases.get(name), str(place)) for name, place in places.items()},
    }
    return [
        f"its {what} is {theirs}, here {ours}" for what, (theirs, ours) in here.items() if theirs != ours
    ]


def _folder(project: Project, *, workers: list[Worker]) -> _Found:
    """Tell whether the workers see this machine's folder of artifacts."""
    from crm_assets.workspace.identity import project_id

    facts = [(worker.name, worker.facts) for worker in workers if worker.facts]
    if not facts:
        return "note", (
            f"in {project.artifacts}: all machines must have this folder, or {ARTIFACTS_VARIABLE} must "
            "name a store."
        )
    ours = project_id(project)
    others = [name for name, each in facts if each.project != ours]
    if others:
        return "broken", (
            f"{', '.join(others)} has another folder than {project.artifacts} of this machine; share the "
            f"project's folder, or name a store in {ARTIFACTS_VARIABLE}."
        )
    return "ok", f"{project.artifacts} is the same folder for all workers"
