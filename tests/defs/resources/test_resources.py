"""The Dagster resources, on a real database."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from crm_assets.crm import Sandbox
from crm_assets.defs.resources import (
    ArtifactsResource,
    PostgresResource,
    SandboxResource,
    TelemetryResource,
)
from crm_assets.errors import InfrastructureError
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def postgres(project: Project) -> PostgresResource:
    return PostgresResource(root=str(project.root))


def test_resources_find_the_current_project(project: Project) -> None:
    assert ArtifactsResource().project == project
    assert PostgresResource().project == project


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


def test_the_base_is_empty_and_a_reset_keeps_it_so(postgres: PostgresResource) -> None:
    resource = SandboxResource(postgres=postgres)
    assert resource.fingerprint() == EMPTY
    with resource.lease() as sandbox:
        before = sandbox.query("SELECT 'clients'::regclass::oid", ())
    assert resource.reset() == EMPTY
    with resource.lease() as sandbox:
        assert sandbox.query("SELECT 'clients'::regclass::oid", ()) != before, "it is the same table"


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
