"""A server of the user's own, over TCP and with a password: all that goes to a database works there, too.

`CRM_ASSETS_TEST_SERVER` names one (`postgresql://…`, a user who may make databases); without it the tests
start one on 127.0.0.1 themselves, so that they are never skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine, text

from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.cli.cluster import diagnose_cluster
from crm_assets.crm import SandboxPool, deterministic_ids, make_seed_rows
from crm_assets.database import Databases, connect_databases
from crm_assets.engine import Limits, run_harness
from crm_assets.errors import InfrastructureError
from crm_assets.harness import AgentSpec
from crm_assets.workspace.project import Project
from tests.atlas.telemetry.build import KEY, end, learn, start
from tests.crm.samples import CLIENT_A, SEED_DATA, TODAY, conversation
from tests.engine.test_run import mixed, settled
from tests.harness.build import write_dataset
from tests.servers import drop_databases, tcp_server

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server's conninfo; one that does not answer fails the tests."""
    named = os.environ.get("CRM_ASSETS_TEST_SERVER")
    if named:
        yield make_conninfo(named)
        return
    with tcp_server() as address:
        yield address


@pytest.fixture
def project(server: str, tmp_path: Path) -> Iterator[Project]:
    """A project whose `.env` names the server, as a user would, and a database that is not there yet."""
    parts = {"port": "5432", "password": "", **conninfo_to_dict(server)}
    name = f"crm-Test-{uuid4().hex[:8]}"  # a name that has to be quoted
    user, password = quote(str(parts["user"]), safe=""), quote(str(parts["password"]), safe="")
    url = f"postgresql://{user}:{password}@{parts['host']}:{parts['port']}/{name}"
    values = {f"DB_{part.upper()}": parts[part] for part in ("host", "port", "user", "password")}
    values |= {"DB_NAME": name, "STORAGE__DATABASE_URL": url, "DAGSTER_DATABASE_URL": url}
    (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    yield Project(tmp_path)
    drop_databases(server, name)


@pytest.fixture
def over_tcp(project: Project) -> Databases:
    return connect_databases(project)


def test_it_is_asked_over_tcp_and_with_a_password(over_tcp: Databases, server: str) -> None:
    with psycopg.connect(over_tcp.sandbox) as connection:
        row = connection.execute("SELECT inet_server_port(), current_user").fetchone()
    parts = conninfo_to_dict(server)
    assert row == (int(parts.get("port", 5432)), parts["user"])
    assert not over_tcp.embedded


def test_a_missing_database_is_made_and_found_again(over_tcp: Databases, project: Project) -> None:
    assert connect_databases(project) == over_tcp
    assert not project.state.exists(), "no embedded server was started"
    engine = create_engine(over_tcp.dagster)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_a_wrong_password_is_one_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "guessed")
    if os.environ.get("CRM_ASSETS_TEST_SERVER"):
        monkeypatch.setenv("DB_USER", "nobody_at_all")  # that server may trust everyone it knows
    with pytest.raises(InfrastructureError, match=r"^Postgres at .* does not answer \(.*\); start it or"):
        connect_databases(project)


def test_a_sandbox_serves_sessions_and_stays_clean(over_tcp: Databases) -> None:
    seeds = make_seed_rows(conversation(SEED_DATA))
    with SandboxPool(over_tcp.sandbox, size=2) as pool:
        with pool.lease() as left, pool.lease() as right:
            with left.begin(seeds, ids=deterministic_ids("test"), today=lambda: TODAY) as one:
                one.call("modify_client", {"client_id": CLIENT_A, "name": "Left"})
                assert [found["name"] for found in one.call("client_search", {"name": "left"})] == ["Left"]
                with right.begin(seeds) as two:
                    assert two.call("client_search", {"name": "left"}) == []
            assert left.is_clean()
            assert right.is_clean()
        assert pool.discarded == 0


def test_a_connection_that_breaks_is_the_infrastructures_failure(over_tcp: Databases) -> None:
    with SandboxPool(over_tcp.sandbox, size=1) as pool:
        sandbox = pool.acquire()
        with psycopg.connect(over_tcp.sandbox, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (sandbox.backend_pid,))
        with pytest.raises(InfrastructureError):
            sandbox.begin({})
        assert pool.release(sandbox) is False
        with pool.lease() as fresh:
            assert fresh.is_clean()


def test_telemetry_is_stored_and_read(over_tcp: Databases) -> None:
    with TelemetryStore(over_tcp.telemetry) as store:
        store.persist(store.begin(start()), end(), learn)
        assert store.learning_state(KEY).version == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_comes_to_what_it_comes_to_on_the_embedded_server(
    over_tcp: Databases, databases: Databases, tmp_path: Path, workers: int
) -> None:
    dataset = write_dataset(tmp_path / "d.jsonl", mixed())

    def results(where: Databases, name: str) -> list[object]:
        output = tmp_path / name
        limits = Limits(workers=workers, concurrency=4)
        summary = run_harness(dataset, output, databases=where, agent=AgentSpec("replay"), limits=limits)
        assert (summary.total, summary.succeeded, summary.failed) == (40, 30, 10)
        assert (summary.infrastructure_errors, summary.sandboxes_discarded) == (0, 0)
        return settled(output)

    assert results(over_tcp, "tcp.jsonl") == results(databases, "socket.jsonl")


def test_the_cluster_check_finds_the_databases(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRM_ASSETS_BROKER", raising=False)
    found = {item.what: item for item in diagnose_cluster(project)}
    for name in ("sandbox", "telemetry", "dagster"):
        # By a loopback address it is not what other machines need, and that is said.
        state = "note" if "127.0.0.1:" in found[f"database {name}"].finding else "ok"
        assert (found[f"database {name}"].state, "answers" in found[f"database {name}"].finding) == (
            state,
            True,
        )
    with (project.root / ".env").open("a") as file:
        file.write("DAGSTER_DATABASE_URL='postgresql://nobody:wrong@127.0.0.1:1/gone'\n")
    lost = {item.what: item for item in diagnose_cluster(project)}["database dagster"]
    assert (lost.state, "127.0.0.1:1/gone does not answer" in lost.finding) == ("broken", True)
    assert "wrong" not in lost.finding
