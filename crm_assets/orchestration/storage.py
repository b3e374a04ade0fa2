"""Dagster's storage on the project's own Postgres, with nothing to export or configure.

`dagster.yaml` names this class. Every process that Dagster starts (webserver, daemon, code server,
run) builds it, finds the same project and so the same database; the embedded server is started by
whichever comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from dagster import Field, StringSource
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.exc import ArgumentError, OperationalError

from crm_assets.database import connect_databases, create_database
from crm_assets.defs.partitions import DATASET_PARTITIONS, RUN_PARTITIONS
from crm_assets.errors import ConfigError, InfrastructureError, last_line
from crm_assets.workspace.keys import RunKey, parse_dataset
from crm_assets.workspace.project import find_project

__all__ = ["ProjectPostgresStorage"]

_PARSERS = {RUN_PARTITIONS.name: RunKey.parse, DATASET_PARTITIONS.name: parse_dataset}
"""Parsers of a dimension's keys, by its name in Dagster."""

_CONNECT_TIMEOUT = 10


def _remember(look: Callable[..., bool]) -> Callable[..., bool]:
    """Make a method that looks for a table or a column not look again for what it has found.

    Dagster looks in the catalog before every event whether it has been migrated, which takes a third of the
    statements of a run.
    """

    @wraps(look)
    def remembering(storage: object, *arguments: object) -> bool:
        found = storage.__dict__.setdefault("_found", set())
        wanted = (look.__name__, *arguments[-1:])  # the name of what is looked for; before it, a connection
        if wanted not in found and look(storage, *arguments):
            found.add(wanted)
        return wanted in found

    return remembering


class _RunStorage(PostgresRunStorage):
    has_run_stats_index_cols = _remember(PostgresRunStorage.has_run_stats_index_cols)
    has_backfill_id_column = _remember(PostgresRunStorage.has_backfill_id_column)


class _EventLogStorage(PostgresEventLogStorage):
    """Dagster's, which takes no key that is not one: the UI's pickers let people type any text."""

    has_table = _remember(PostgresEventLogStorage.has_table)
    _has_asset_key_col_on_connection = _remember(PostgresEventLogStorage._has_asset_key_col_on_connection)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """Register partition keys.

        Raises:
            InputError: one of them is no key of a dataset or a run.
        """
        if (parse := _PARSERS.get(partitions_def_name)) is not None:
            for key in partition_keys:
                parse(key)
        super().add_dynamic_partitions(partitions_def_name, partition_keys)


class ProjectPostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in the project's `dagster` database.

    `postgres_url` in `dagster.yaml` takes precedence; without it, the database of the project that this
    process works in (which `DAGSTER_DATABASE_URL` may name).
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        """Open the storages at `postgres_url`, whose tables are made if they are missing."""
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        self._run_storage.dispose()
        self._run_storage = _RunStorage(postgres_url, should_autocreate_tables=False)
        self._event_log_storage.dispose()
        self._event_log_storage = _EventLogStorage(postgres_url, should_autocreate_tables=False)

    @classmethod
    def config_type(cls) -> Mapping[str, Field]:
        """Return the keys that `dagster.yaml` may have under `config`."""
        return {
            "postgres_url": Field(
                StringSource,
                is_required=False,
                description="A postgresql+psycopg2:// URL; left out, the project's own database.",
            ),
            "should_autocreate_tables": Field(bool, is_required=False, default_value=True),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ProjectPostgresStorage:
        """Build it from `dagster.yaml`."""
        return cls(
            postgres_url=_database_url(config_value.get("postgres_url")),
            should_autocreate_tables=config_value["should_autocreate_tables"],
            inst_data=inst_data,
        )


def _database_url(configured: str | None) -> str:
    url = configured or _project_url()
    _probe(url)
    return url


def _project_url() -> str:
    project = find_project()
    if not (project.root / "workspace.yaml").is_file():
        raise ConfigError(
            f"{project.root} is not a crm_assets project (it has no workspace.yaml): work in the "
            "project's folder, or set CRM_ASSETS_HOME to it."
        )
    return connect_databases(project).dagster


def _libpq(url: URL) -> str:
    """Return SQLAlchemy's URL as libpq reads it."""
    query = {name: str(value) for name, value in url.query.items()}
    return make_conninfo("", **url.translate_connect_args(username="user", database="dbname"), **query)


def _probe(url: str) -> None:
    """Connect once, and create a missing database.

    Dagster itself would try for long seconds and then end in a traceback.
    """
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_TIMEOUT})
        try:
            engine.connect().close()
        except OperationalError as error:
            if f'database "{engine.url.database}" does not exist' not in str(error.orig):
                raise
            create_database(_libpq(engine.url))
            engine.connect().close()
    except ArgumentError as error:
        raise ConfigError(
            "The URL of Dagster's storage must read postgresql+psycopg2://user:password@host:5432/dagster."
        ) from error
    except OperationalError as error:
        raise InfrastructureError(
            f"The database of Dagster's storage does not answer ({last_line(error.orig)}); start its "
            "server or correct DAGSTER_DATABASE_URL."
        ) from error
