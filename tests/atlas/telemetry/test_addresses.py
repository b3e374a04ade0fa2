"""A database that is not there is one sentence, and no sentence tells a password."""

from __future__ import annotations

import traceback

import pytest

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.database import Databases
from crm_assets.errors import ConfigError, CrmAssetsError, InfrastructureError

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


def test_the_database_is_missing(databases: Databases) -> None:
    conninfo = f"{databases.telemetry.replace('dbname=atlas', 'dbname=nowhere')} password={SECRET}"
    assert 'database "nowhere" does not exist' in complaint(conninfo, InfrastructureError)


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
