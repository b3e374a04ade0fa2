"""What the environment says about the databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.database import ServerSettings, read_environment
from crm_assets.errors import ConfigError
from crm_assets.workspace.project import Project

DEFAULTS = ServerSettings(
    host=None,
    port=5432,
    user="postgres",
    password=None,
    sandbox_database="crm_sandbox",
    telemetry_url=None,
    dagster_url=None,
)


def test_without_variables_everything_is_the_project_s_own() -> None:
    assert ServerSettings.from_environment({}) == DEFAULTS


def test_every_variable_counts() -> None:
    assert ServerSettings.from_environment(
        {
            "DB_HOST": "db.example",
            "DB_PORT": "6543",
            "DB_USER": "crm",
            "DB_PASSWORD": "p w",
            "DB_NAME": "cases",
            "STORAGE__DATABASE_URL": "postgresql://t@h/atlas",
            "DAGSTER_DATABASE_URL": "postgresql+psycopg2://d@h/dagster",
        }
    ) == ServerSettings(
        host="db.example",
        port=6543,
        user="crm",
        password="p w",
        sandbox_database="cases",
        telemetry_url="postgresql://t@h/atlas",
        dagster_url="postgresql+psycopg2://d@h/dagster",
    )


@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "5432x", "5432.0", "", " ", "²", "99999999999999999999"]
)
def test_a_port_that_is_none(port: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerSettings.from_environment({"DB_PORT": port})
    assert str(caught.value) == f"DB_PORT must be a port number from 1 to 65535, not {port!r}."


@pytest.mark.parametrize("port", [1, 5432, 65535])
def test_ports_up_to_the_limits(port: int) -> None:
    assert ServerSettings.from_environment({"DB_PORT": str(port)}).port == port


def test_the_env_file_gives_what_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "# the team's server\nDB_HOST=from-file\nexport DB_USER='file user'\nDB_NAME=\nDB_PORT=1234\n"
    )
    monkeypatch.setenv("DB_HOST", "from-environment")
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("DB_PORT", "")
    environment = read_environment(Project(tmp_path))
    assert environment["DB_HOST"] == "from-environment"
    assert environment["DB_USER"] == "file user"
    assert environment["DB_PASSWORD"] == "secret"
    assert "DB_NAME" not in environment, "an empty value counts as not set"
    settings = ServerSettings.from_environment(environment)
    assert (settings.host, settings.user, settings.sandbox_database) == (
        "from-environment",
        "file user",
        "crm_sandbox",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"DB_NAME=x\nDB_HOST: db.example\n", "line 2: write it as NAME=value."),
        (b"DB_PASSWORD='never closed\n", "line 1: write it as NAME=value."),
        (b"DB_USER=\xff\n", "is not UTF-8 text (invalid start byte): save it as UTF-8."),
    ],
)
def test_an_env_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """A line that is passed over in silence would mean the embedded server instead of one's own."""
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_environment(Project(tmp_path))
    assert str(caught.value).endswith(problem)
    assert "never closed" not in str(caught.value)


def test_without_an_env_file_the_environment_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOST", "h")
    assert read_environment(Project(tmp_path))["DB_HOST"] == "h"


def test_reading_the_env_file_leaves_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.delenv("DB_NAME", raising=False)
    (tmp_path / ".env").write_text("DB_NAME=x\n")
    assert read_environment(Project(tmp_path))["DB_NAME"] == "x"
    assert "DB_NAME" not in os.environ
