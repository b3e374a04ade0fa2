from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.harness import GroundTruthStore
from crm_assets.project import Project

from .build import Harness


@pytest.fixture(scope="session")
def harness(shared_pool: SandboxPool, sandbox_conninfo: str) -> Iterator[Harness]:
    """Runs single conversations, on every kind of server."""
    with SandboxPool(sandbox_conninfo) as pool:
        store = GroundTruthStore(sandbox_conninfo, pool)
        yield Harness(shared_pool, store)
        store.close()


@pytest.fixture
def lonely_project(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project whose sandbox database (`DB_NAME`) is its alone, and may be taken away."""
    parts = psycopg.conninfo.conninfo_to_dict(databases.sandbox)
    for variable, part in (("DB_HOST", "host"), ("DB_PORT", "port"), ("DB_USER", "user")):
        monkeypatch.setenv(variable, str(parts[part]))
    name = f"crm_lonely_{uuid4().hex[:8]}"
    monkeypatch.setenv("DB_NAME", name)
    yield Project(tmp_path)
    with psycopg.connect(databases.sandbox, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
