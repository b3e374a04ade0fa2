"""The three databases: made where they are missing, wherever the environment says they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import make_url

from crm_assets.crm import SandboxPool
from crm_assets.database import Databases, connect_databases, create_database
from crm_assets.database.logical import _sqlalchemy_url
from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.workspace.project import Project


@pytest.fixture
def elsewhere(tmp_path: Path) -> Project:
    """A project without anything; an embedded server must not be started in it."""
    return Project(tmp_path)


@pytest.fixture
def names(sandbox_conninfo: str) -> Iterator[Callable[[], str]]:
    """Names of databases that are dropped at the end if somebody made them."""
    made: list[str] = []

    def fresh() -> str:
        made.append(f"crm-Test {uuid4().hex[:8]}")  # a name that has to be quoted
        return made[-1]

    yield fresh
    with psycopg.connect(sandbox_conninfo, autocommit=True) as admin:
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def point_at(monkeypatch: pytest.MonkeyPatch, conninfo: str, **more: str) -> None:
    """Name the server of `conninfo` in the environment, as a user would."""
    parts = conninfo_to_dict(conninfo)
    monkeypatch.setenv("DB_HOST", str(parts["host"]))
    monkeypatch.setenv("DB_PORT", str(parts.get("port", "5432")))
    monkeypatch.setenv("DB_USER", str(parts["user"]))
    if parts.get("password"):
        monkeypatch.setenv("DB_PASSWORD", str(parts["password"]))
    for name, value in more.items():
        monkeypatch.setenv(name, value)


def url_of(conninfo: str, database: str) -> str:
    return _sqlalchemy_url(conninfo, "x").replace("+psycopg2", "").replace("/x", f"/{database}")


def exists(conninfo: str, database: str) -> bool:
    with psycopg.connect(conninfo) as admin:
        return (
            admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            is not None
        )


def test_the_project_s_own_three(embedded_project: Project, databases: Databases) -> None:
    assert databases.embedded
    assert databases.sandbox_is_local
    for conninfo, name in ((databases.sandbox, "crm_sandbox"), (databases.telemetry, "atlas")):
        with psycopg.connect(conninfo) as connection:
            assert connection.info.dbname == name
            assert connection.info.parameter_status("server_encoding") == "UTF8"
    url = make_url(databases.dagster)
    assert (url.drivername, url.database) == ("postgresql+psycopg2", "dagster")
    import psycopg2

    with psycopg2.connect(
        host=url.query["host"], port=url.query["port"], user=url.username, dbname=url.database
    ) as connection:
        assert connection.info.dbname == "dagster"
    assert connect_databases(embedded_project) == databases


def test_a_missing_database_is_made_and_works(
    elsewhere: Project,
    sandbox_conninfo: str,
    names: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, other = names(), "postgres"
    point_at(
        monkeypatch,
        sandbox_conninfo,
        DB_NAME=name,
        STORAGE__DATABASE_URL=url_of(sandbox_conninfo, other),
        DAGSTER_DATABASE_URL="postgresql+psycopg2://somebody@nowhere.example/dagster",
    )
    assert not exists(sandbox_conninfo, name)
    databases = connect_databases(elsewhere)
    assert exists(sandbox_conninfo, name)
    assert not databases.embedded
    assert databases.dagster == "postgresql+psycopg2://somebody@nowhere.example/dagster"
    assert conninfo_to_dict(databases.telemetry)["dbname"] == other
    assert databases.telemetry_is_set
    with SandboxPool(databases.sandbox) as pool, pool.lease() as sandbox, sandbox.begin({}) as session:
        assert session.call("client_search", {}) == []
    assert connect_databases(elsewhere) == databases, "the second time they are there"
    assert not elsewhere.state.exists(), "no embedded server was started"


def test_databases_that_urls_name_are_created_when_they_are_needed(
    project: Project, sandbox_conninfo: str, names: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crm_assets.atlas.telemetry.store import TelemetryStore
    from crm_assets.defs.resources import PostgresResource, TelemetryResource
    from crm_assets.orchestration.materialize import open_instance

    telemetry, checked, dagster = names(), names(), names()
    with TelemetryStore(url_of(sandbox_conninfo, quote(telemetry))) as store:
        assert not store.learning_state("a").entries
    monkeypatch.setenv("STORAGE__DATABASE_URL", url_of(sandbox_conninfo, quote(checked)))
    assert TelemetryResource(postgres=PostgresResource.of(project)).check().database == checked
    url = url_of(sandbox_conninfo, dagster).replace("postgresql://", "postgresql+psycopg2://")
    monkeypatch.setenv("DAGSTER_DATABASE_URL", url)
    with open_instance(project) as instance:
        assert instance.get_runs_count() == 0
    assert all(exists(sandbox_conninfo, name) for name in (telemetry, checked, dagster))


def test_a_user_who_may_not_create_a_database_is_told_how_it_is_created(databases: Databases) -> None:
    user, missing = f"crm_user_{uuid4().hex[:8]}", f"crm_missing_{uuid4().hex[:8]}"
    with psycopg.connect(databases.sandbox, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
        try:
            with pytest.raises(InfrastructureError, match=f"CREATE DATABASE {missing}$"):
                create_database(make_conninfo(databases.sandbox, user=user, dbname=missing))
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
    with pytest.raises(InfrastructureError, match=f"`createdb {missing}`"):
        create_database(make_conninfo(databases.sandbox, user=user, dbname=missing))


def test_the_env_file_names_the_server(
    elsewhere: Project, sandbox_conninfo: str, names: Callable[[], str]
) -> None:
    parts = conninfo_to_dict(sandbox_conninfo)
    url = url_of(sandbox_conninfo, "postgres")
    (elsewhere.root / ".env").write_text(
        f"DB_HOST={parts['host']}\nDB_PORT={parts.get('port', 5432)}\nDB_USER={parts['user']}\n"
        f'DB_NAME="{names()}"\nSTORAGE__DATABASE_URL={url}\nDAGSTER_DATABASE_URL={url}\n'
    )
    databases = connect_databases(elsewhere)
    assert str(conninfo_to_dict(databases.sandbox)["host"]) == str(parts["host"])
    assert databases.dagster == url


def test_new_databases_compare_text_as_unicode_does_whatever_the_server_s_locale(
    databases: Databases,
) -> None:
    with psycopg.connect(databases.sandbox) as connection:
        row = connection.execute(
            "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("b", "C.UTF-8")


def test_a_server_that_is_down_is_one_sentence(elsewhere: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOST", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", "1")
    with pytest.raises(InfrastructureError) as caught:
        connect_databases(elsewhere)
    text = str(caught.value)
    assert text.startswith("Postgres at 127.0.0.1:1 does not answer (")
    assert text.endswith("; start it or correct DB_HOST, DB_PORT, DB_USER and DB_PASSWORD.")
    assert "\n" not in text


def test_a_user_that_is_none_is_one_sentence(
    elsewhere: Project, sandbox_conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(monkeypatch, sandbox_conninfo, DB_USER="crm_nobody_at_all")
    with pytest.raises(
        InfrastructureError, match=r"does not answer \(.*crm_nobody_at_all.*\); start it or"
    ):
        connect_databases(elsewhere)


def test_a_user_who_may_not_make_databases_is_told_who_may(
    elsewhere: Project,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, missing = f"crm_user_{uuid4().hex[:8]}", f"crm_missing_{uuid4().hex[:8]}"
    with psycopg.connect(databases.sandbox, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
        try:
            point_at(monkeypatch, make_conninfo(databases.sandbox, user=user), DB_NAME=missing)
            with pytest.raises(InfrastructureError) as caught:
                connect_databases(elsewhere)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
    assert str(caught.value) == (
        f"Database {missing!r} does not exist and this user may not create it; have an administrator run: "
        f"CREATE DATABASE {missing}"
    )


@pytest.mark.parametrize("url", ["nonsense", "mysql://u@h/atlas", "postgresql://u@h/atlas?colour=red"])
def test_a_telemetry_address_that_is_none(
    elsewhere: Project, databases: Databases, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    point_at(monkeypatch, databases.sandbox, STORAGE__DATABASE_URL=url)
    with pytest.raises(ConfigError) as caught:
        connect_databases(elsewhere)
    assert str(caught.value) == (
        "STORAGE__DATABASE_URL must be a URL like postgresql://user:password@host:5432/atlas."
    )


def test_a_port_that_is_none_stops_before_anything_starts(
    elsewhere: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PORT", "none")
    with pytest.raises(ConfigError, match="DB_PORT"):
        connect_databases(elsewhere)
    assert not elsewhere.state.exists()


@pytest.mark.parametrize(
    ("sandbox", "near"),
    [
        ("host=/run/x dbname=d", True),
        ("dbname=d", True),
        ("host=localhost", True),
        ("host=127.0.0.1 port=5433", True),
        ("host=::1", True),
        ("host=db.example", False),
        ("host=10.0.0.1", False),
        ("host=localhost.example", False),
    ],
)
def test_whether_the_sandbox_is_near(sandbox: str, near: bool) -> None:
    assert Databases(sandbox=sandbox, telemetry="", dagster="", embedded=False).sandbox_is_local is near


@pytest.mark.parametrize(
    ("server", "host", "port", "user", "password"),
    [
        ({"host": "db.example", "port": 6543, "user": "u"}, "db.example", 6543, "u", None),
        ({"host": "h", "user": "a b@c/d:e", "password": "p@/: %#?"}, "h", 5432, "a b@c/d:e", "p@/: %#?"),
        ({"host": "::1", "port": 5432, "user": "u"}, "::1", 5432, "u", None),
    ],
)
def test_dagster_s_address_over_tcp(
    server: dict[str, object], host: str, port: int, user: str, password: str | None
) -> None:
    url = make_url(_sqlalchemy_url(make_conninfo(**server), "dagster"))  # type: ignore[arg-type]
    assert (url.host, url.port, url.username, url.password) == (host, port, user, password)
    assert (url.drivername, url.database) == ("postgresql+psycopg2", "dagster")


def test_dagster_s_address_on_a_socket() -> None:
    url = make_url(_sqlalchemy_url(make_conninfo(host="/tmp/a b&c", port=5433, user="u"), "dagster"))
    assert (url.host, url.query["host"], url.query["port"]) == (None, "/tmp/a b&c", "5433")


@pytest.mark.parametrize(
    ("is_set", "configured", "address"),
    [(False, None, "own"), (False, "theirs", "theirs"), (True, "theirs", "own"), (True, None, "own")],
)
def test_telemetry_goes_where_the_environment_says_then_the_configuration(
    is_set: bool, configured: str | None, address: str
) -> None:
    databases = Databases(sandbox="", telemetry="own", dagster="", embedded=False, telemetry_is_set=is_set)
    assert databases.telemetry_for(configured) == address
