from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_assets.crm import SandboxPool
from crm_assets.harness import GroundTruthStore

from .build import Harness


@pytest.fixture(scope="session")
def harness(shared_pool: SandboxPool, sandbox_conninfo: str) -> Iterator[Harness]:
    """Runs single conversations, on every kind of server."""
    with SandboxPool(sandbox_conninfo) as pool:
        store = GroundTruthStore(sandbox_conninfo, pool)
        yield Harness(shared_pool, store)
        store.close()
