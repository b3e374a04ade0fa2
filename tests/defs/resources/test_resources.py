"""The Dagster resources, on a real database."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from crm_assets.crm import Sandbox
from crm_assets.defs.resources import (
    ArtifactsResource,
    PostgresResource,
    SandboxResource,
    TelemetryResource,
)
from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.projects import SANDBOXES

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def postgres(project: Project) -> PostgresResource:
    return PostgresResource.of(project)


def test_resources_find_the_current_project(project: Project) -> None:
    assert ArtifactsResource().project == project
    assert PostgresResource(artifacts=ArtifactsResource()).artifacts.project == project


def test_artifacts_are_where_the_design_says(tmp_path: Path) -> None:
    paths = ArtifactsResource(root=str(tmp_path)).baseline(BaselineKey.of("dev", "20260131T093000Z-a"))
    expected = tmp_path / "artifacts" / "baselines" / "dev" / "20260131T093000Z-a" / "atlas"
    assert paths.sessions == expected / "sessions.jsonl"


def test_a_leased_sandbox_is_nobody_elses(postgres: PostgresResource) -> None:
    resource = SandboxResource(postgres=postgres)
    with resource.lease() as one, resource.lease() as other:
        assert isinstance(one, Sandbox)
        assert one.schema != other.schema
    with resource.lease() as again:
        assert again.schema == one.schema


def leave_a_row(postgres: PostgresResource, schema: str) -> None:
    """Leave what no session can: a committed row in a sandbox."""
    with psycopg.connect(postgres.databases().sandbox) as connection:
        connection.execute("SET session_replication_role TO replica")  # no triggers, so no guard
        connection.execute(
            f"INSERT INTO {schema}.clients (client_id, name, status) "
            "VALUES (gen_random_uuid(), 'X', 'Active')"
        )


def test_a_reset_empties_every_free_sandbox(postgres: PostgresResource) -> None:
    resource = SandboxResource(postgres=postgres)
    assert resource.reset() == (SANDBOXES, 0, EMPTY)
    with resource.lease() as one, resource.lease() as other:
        schemas = (one.schema, other.schema)
    for schema in schemas:
        leave_a_row(postgres, schema)
    assert resource.fingerprint() != EMPTY
    assert resource.reset() == (SANDBOXES, 2, EMPTY)
    assert resource.fingerprint() == EMPTY


def test_a_reset_makes_the_first_sandbox_of_a_database(lonely_project: Project) -> None:
    resource = SandboxResource(postgres=PostgresResource.of(lonely_project))
    assert resource.reset() == (1, 0, EMPTY)
    with resource.lease() as one, resource.lease() as other:
        assert one.schema != other.schema
    assert resource.reset() == (2, 0, EMPTY)


def test_a_reset_leaves_a_sandbox_in_use_alone(postgres: PostgresResource) -> None:
    resource = SandboxResource(postgres=postgres)
    with resource.lease() as used:
        leave_a_row(postgres, used.schema)
        found = resource.reset()
        assert (found.remade, found.fingerprint) == (0, EMPTY)
        assert used.fingerprint() != EMPTY
    assert resource.reset().remade == 1


def test_addresses_of_the_launchpad_take_precedence(
    postgres: PostgresResource, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = postgres.databases()
    with psycopg.connect(usual.sandbox, autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
        address = f"postgresql://{connection.info.user}@/elsewhere?host={connection.info.host}"
    changed = PostgresResource(
        artifacts=ArtifactsResource(root=str(project.root)), sandbox_url=address, telemetry_url=address
    ).databases()
    for conninfo in (changed.sandbox, changed.telemetry_for("postgresql://nowhere/configured")):
        assert conninfo_to_dict(conninfo)["dbname"] == "elsewhere"
    with pytest.raises(ConfigError, match="sandbox_url must be a URL"):
        PostgresResource(artifacts=ArtifactsResource(), sandbox_url="not a url").databases()


def test_the_telemetry_database_answers(postgres: PostgresResource) -> None:
    status = TelemetryResource(postgres=postgres).check()
    assert status.database.startswith("atlas")
    assert int(status.server_version.split(".")[0]) >= 15


def test_what_is_written_to_the_telemetry_stays_unless_the_block_fails(postgres: PostgresResource) -> None:
    telemetry = TelemetryResource(postgres=postgres)
    with telemetry.connect() as connection:
        connection.execute("CREATE TABLE kept (n int)")
    with pytest.raises(ZeroDivisionError), telemetry.connect() as connection:
        connection.execute("CREATE TABLE lost (n int)")
        raise ZeroDivisionError
    with telemetry.connect() as connection:
        row = connection.execute(
            "SELECT to_regclass('kept') IS NULL, to_regclass('lost') IS NULL"
        ).fetchone()
    assert row == (False, True)


def test_a_telemetry_database_that_is_down_is_a_sentence(
    postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE__DATABASE_URL", "postgresql://nobody@127.0.0.1:1/atlas")
    with pytest.raises(InfrastructureError, match="telemetry database does not answer") as raised:
        TelemetryResource(postgres=postgres).check()
    assert "\n" not in str(raised.value)
