"""`crm-assets doctor`: check the prerequisites, and say what to do about missing ones."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import click

from crm_assets.cli.ui import DEFAULT_PORT, port_is_free
from crm_assets.errors import CrmAssetsError
from crm_assets.workspace.datasets import available_datasets, require_dataset, unusable_names
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.stored import stored_artifacts

__all__ = [
    "Diagnosis",
    "Examination",
    "diagnose",
    "doctor",
    "examine_artifacts",
    "examined",
    "print_diagnoses",
]

_OLDEST_PYTHON = (3, 10)
_KEYS = ("OPENAI_API_KEY", "GEMINI_API_KEY")
_COLOURS = {"ok": "green", "note": "yellow", "broken": "red"}


class Diagnosis(NamedTuple):
    """A prerequisite and its state; `broken` must be mended, `note` is optional."""

    state: Literal["ok", "note", "broken"]
    what: str
    finding: str


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Also ask the student's model of this configuration for a tool call: one call, which is paid for.",
)
@click.option(
    "--start", is_flag=True, help="Start the embedded server if it does not run, and look into it."
)
def doctor(*, config: Path | None, start: bool) -> None:
    """Check every prerequisite, a line each. Exit code 1 if one is broken."""
    print_diagnoses(diagnose(find_project(), config, start=start))


def print_diagnoses(diagnoses: Iterable[Diagnosis]) -> None:
    """Print a line each, as they come; end the command with exit code 1 if one is broken."""
    broken = False
    for diagnosis in diagnoses:
        mark = click.style(f"{diagnosis.state:6}", fg=_COLOURS[diagnosis.state])
        click.echo(f"{mark}  {diagnosis.what}: {diagnosis.finding}")
        broken = broken or diagnosis.state == "broken"
    if broken:
        click.get_current_context().exit(1)


def diagnose(project: Project, config: Path | None = None, *, start: bool = False) -> Iterator[Diagnosis]:
    """Yield the state of each prerequisite, in the order in which they depend on each other.

    Args:
        project: where.
        config: of the student whose model is asked; None asks no model.
        start: start the embedded server if it does not run; otherwise nothing is known of what it holds.
    """
    databases: tuple[tuple[str, Examination], ...] = (
        ("database", _database),
        ("sandbox schema", _sandbox),
        ("telemetry database", _telemetry),
        ("dagster storage", _dagster_storage),
    )
    yield examined("python", _python, project)
    yield examined("project", _project, project)
    server = examined("database", _server, project)
    if start or server.state == "ok":
        yield from (examined(what, examine, project) for what, examine in databases)
    else:
        yield server
    if project.artifacts_url is not None:
        yield examined("artifacts", examine_artifacts, project)
    for what, examine in (("datasets", _datasets), ("model keys", _model_keys), ("UI port", _port)):
        yield examined(what, examine, project)
    if config is not None:
        yield examined("tool calls", partial(_tool_calls, config=project.root / config), project)


Examination = Callable[[Project], tuple[Literal["ok", "note", "broken"], str]]


def examined(what: str, examine: Examination, project: Project) -> Diagnosis:
    """Return what `examine` finds; an expected error is a broken prerequisite."""
    try:
        state, finding = examine(project)
    except CrmAssetsError as error:
        state, finding = "broken", str(error)
    return Diagnosis(state, what, finding)


def _python(_: Project) -> tuple[Literal["ok", "broken"], str]:
    version = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        return "broken", f"{version} is too old; install Python 3.10 or newer."
    return "ok", version


def _project(project: Project) -> tuple[Literal["ok", "broken"], str]:
    missing = [
        name
        for name in ("workspace.yaml", "dagster_home/dagster.yaml")
        if not (project.root / name).is_file()
    ]
    if missing:
        return "broken", (
            f"{project.root} has no {' and no '.join(missing)}; work in the project's folder or set "
            "CRM_ASSETS_HOME to it."
        )
    return "ok", str(project.root)


def _server(project: Project) -> tuple[Literal["ok", "note"], str]:
    from crm_assets.database import ServerSettings, embedded_address, read_environment

    settings = ServerSettings.from_environment(read_environment(project))
    if settings.host is None and embedded_address(project) is None:
        return "note", (
            "the embedded server is not running; it starts when it is needed. crm-assets doctor --start "
            "starts it and looks into its databases."
        )
    return "ok", ""


def _database(project: Project) -> tuple[Literal["ok"], str]:
    from psycopg.conninfo import conninfo_to_dict

    from crm_assets.database import connect_databases

    databases = connect_databases(project)
    address = conninfo_to_dict(databases.sandbox)
    which = "embedded" if databases.embedded else "your own (DB_HOST)"
    return "ok", (
        f"PostgreSQL {_server_version(databases.sandbox)}, {which}, database "
        f"{address.get('dbname')} at {address.get('host')}"
    )


def _sandbox(project: Project) -> tuple[Literal["ok"], str]:
    from crm_assets.crm import SCHEMA_VERSION
    from crm_assets.defs.resources import PostgresResource, SandboxResource

    # Opening one makes it where it is missing or old, and says so where it is newer or not ours.
    resource = SandboxResource(postgres=PostgresResource.of(project))
    with resource.lease() as sandbox:
        return "ok", f"version {SCHEMA_VERSION} ({sandbox.schema})"


def _server_version(conninfo: str) -> str:
    import psycopg

    with psycopg.connect(conninfo, connect_timeout=10) as connection:
        return str(connection.info.parameter_status("server_version"))


def _telemetry(project: Project) -> tuple[Literal["ok"], str]:
    from crm_assets.defs.resources import PostgresResource, TelemetryResource

    status = TelemetryResource(postgres=PostgresResource.of(project)).check()
    return "ok", f"database {status.database} on PostgreSQL {status.server_version}"


def _dagster_storage(project: Project) -> tuple[Literal["ok"], str]:
    from crm_assets.orchestration.materialize import open_instance
    from crm_assets.reporting.formats import counted

    with open_instance(project) as instance:
        return "ok", counted(instance.get_runs_count(), "run")


def examine_artifacts(project: Project) -> tuple[Literal["ok", "note"], str]:
    """Tell whether the store of a project that has one answers, and refuses a second writer."""
    copies = stored_artifacts(project)
    assert copies is not None
    if copies.store.check():
        return "ok", f"{copies.store.url} answers, can be written, and refuses a second writer"
    return "note", (
        f"{copies.store.url} answers and can be written, but refuses no second writer: what keeps two from "
        "writing the same run is its lease alone, so let all machines use one database (DB_HOST)."
    )


def _datasets(project: Project) -> tuple[Literal["ok", "note", "broken"], str]:
    from crm_assets.conversations import check_dataset
    from crm_assets.crm import tool_names

    names = available_datasets(project)
    left_out = "".join(
        f"; {name} is left out: {reason}" for name, reason in unusable_names(project).items()
    )
    if not names:
        return "broken", f"none; put a <name>.jsonl into {project.conversations}{left_out}."
    sizes = [
        f"{name} ({check_dataset(require_dataset(project, name), known_tools=tool_names()).count:,})"
        for name in names
    ]
    return "note" if left_out else "ok", ", ".join(sizes) + left_out


def _model_keys(project: Project) -> tuple[Literal["ok", "note"], str]:
    from crm_assets.atlas.config_file import OFFLINE_VARIABLE, is_offline
    from crm_assets.database import read_environment

    environment = read_environment(project)
    if is_offline(environment):
        return "ok", f"offline ({OFFLINE_VARIABLE} is set), none needed"
    present = [name for name in _KEYS if name in environment]
    if present:
        return "ok", f"{' and '.join(present)} set"
    return "note", (
        f"neither {' nor '.join(_KEYS)} is set; the offline models stand in (crm_harness.dev.yaml)."
    )


def _tool_calls(project: Project, *, config: Path) -> tuple[Literal["ok", "broken"], str]:
    from crm_assets.atlas.config_file import load_config
    from crm_assets.atlas.tool_mode import find_tool_mode
    from crm_assets.database import read_environment
    from crm_assets.llm import ModelClient, RetryPolicy

    environment = read_environment(project)
    agent = load_config(config, environment=environment).config.agent
    if agent.tool_mode == "text":
        return "ok", "agent.tool_mode is text: the server needs to know no tools"

    async def find() -> str:
        models = ModelClient(environment, retries=RetryPolicy(attempts=2))
        try:
            return await find_tool_mode(models, "doctor", agent)
        finally:
            await models.aclose()

    found = asyncio.run(find())
    if found == "native":
        return "ok", f"{agent.model.name} calls tools"
    if agent.tool_mode == "auto":
        return "ok", f"{agent.model.name} calls none; agent.tool_mode auto writes them into the prompt"
    return "broken", (
        f"{agent.model.name} was required to call a tool and did not. Its server may not show it the tools "
        "(its chat template knows none): set agent.tool_mode to text, or to auto."
    )


def _port(_: Project) -> tuple[Literal["ok", "note"], str]:
    if port_is_free(DEFAULT_PORT):
        return "ok", f"{DEFAULT_PORT} is free"
    return "note", (
        f"{DEFAULT_PORT} is in use (perhaps the UI already runs); otherwise crm-assets ui --port "
        "takes another."
    )
