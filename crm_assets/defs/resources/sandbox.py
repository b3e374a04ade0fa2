"""The CRM sandbox, as a Dagster resource."""

# No postponed annotations here: Dagster reads the resource dependency off the class as it stands.

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import dagster as dg

from crm_assets.crm import Sandbox
from crm_assets.defs.resources.postgres import PostgresResource

__all__ = ["EMPTY_BASE", "SandboxReset", "SandboxResource"]

EMPTY_BASE = hashlib.sha256(b"").hexdigest()
"""The fingerprint of a sandbox without rows."""

_SANDBOXES = r"SELECT count(*) FROM pg_namespace WHERE nspname ~ '^sandbox_\d+$'"


class SandboxReset(NamedTuple):
    """The state that a reset found and left."""

    sandboxes: int
    """Sandboxes that were free, and are empty now."""
    remade: int
    """Of these, sandboxes that held rows and were recreated."""
    fingerprint: str
    """Hex SHA-256 of all rows in them: `EMPTY_BASE`, or the reset failed."""


class SandboxResource(dg.ConfigurableResource[None]):
    """Sandboxes of the project's database: reset before sessions, and free to use outside of them."""

    postgres: dg.ResourceDependency[PostgresResource]

    @contextmanager
    def lease(self) -> Iterator[Sandbox]:
        """Yield a sandbox that no other process uses for the length of the block.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        sandbox = Sandbox.open(self.postgres.databases().sandbox)
        try:
            yield sandbox
        finally:
            sandbox.close()

    def fingerprint(self) -> str:
        """Return the hex SHA-256 of all rows of the first free sandbox, which should have none.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        with self.lease() as sandbox:
            return sandbox.fingerprint()

    def reset(self) -> SandboxReset:
        """Bring every free sandbox back to its empty base; one that holds rows is recreated.

        Sandboxes that a session uses at the moment are left alone: they are checked when it ends.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        conninfo = self.postgres.databases().sandbox
        found, remade = [], 0
        sandbox = Sandbox.open(conninfo)
        try:
            while True:
                if sandbox.base != EMPTY_BASE:
                    sandbox.destroy()
                    sandbox = Sandbox.open(conninfo, first_slot=sandbox.slot)
                    remade += 1
                found.append(sandbox.base)
                if sandbox.slot >= sandbox.query(_SANDBOXES, ())[0][0]:
                    break
                sandbox = sandbox.next()
        finally:
            sandbox.close()
        worst = next((each for each in found if each != EMPTY_BASE), EMPTY_BASE)
        return SandboxReset(len(found), remade, worst)
