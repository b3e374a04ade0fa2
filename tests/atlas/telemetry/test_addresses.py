"""A database that is not there is one sentence, and no sentence tells a password."""

from __future__ import annotations

import traceback
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.database import Databases
from crm_assets.errors import ConfigError, CrmAssetsError, InfrastructureError
from tests.servers import drop_databases

SECRET = "s3cr3t-Pa55"


def complaint(conninfo: str, kind: type[CrmAssetsError]) -> str:
    with pytest.raises(kind) as caught, TelemetryStore(conninfo):
        pass
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_answers() -> None:
    text = complaint(f"postgresql://atlas:{SECRET}@127.0.0.1:1/atlas", InfrastructureError)
    assert text.startswith("The telemetry database does not answer (")
    assert text.endswith("; correct STORAGE__DATABASE_URL or start its server.")


def test_a_database_that_is_missing_is_made(databases: Databases) -> None:
    name = f"new_{uuid4().hex[:8]}"
    conninfo = make_conninfo(databases.telemetry, dbname=name)
    with TelemetryStore(conninfo) as store:
        assert store.count_sessions("none") == {}
    drop_databases(databases.sandbox, name)


def test_a_database_that_this_user_may_not_make_is_named(databases: Databases) -> None:
    role = f"maker_{uuid4().hex[:8]}"
    with psycopg.connect(databases.sandbox, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            conninfo = make_conninfo(databases.telemetry, dbname="nowhere", user=role, password=SECRET)
            assert "nowhere" in complaint(conninfo, InfrastructureError)
        finally:
            admin.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize(
    "address", [f"postgres//atlas:{SECRET}@host/atlas", f"postgresql://a:{SECRET}@h/d?colour=red"]
)
def test_an_address_that_is_none(address: str) -> None:
    assert complaint(address, ConfigError) == (
        "STORAGE__DATABASE_URL must be a URL like postgresql://user:password@host:5432/atlas."
    )


def test_an_at_sign_in_a_password_must_be_written_differently() -> None:
    text = complaint(f"postgresql://atlas:half@{SECRET}@127.0.0.1/atlas", ConfigError)
    assert text == (
        "STORAGE__DATABASE_URL has an '@' too many; write one that belongs to a password as %40."
    )
