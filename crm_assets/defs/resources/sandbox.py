"""The CRM sandbox, as a Dagster resource."""

# No postponed annotations here: Dagster reads the resource dependency off the class as it stands.

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from crm_assets.crm import Sandbox
from crm_assets.defs.resources.postgres import PostgresResource

__all__ = ["SandboxResource"]


class SandboxResource(dg.ConfigurableResource[None]):
    """Sandboxes of the project's database, for whoever needs one outside of a baseline's sessions."""

    postgres: dg.ResourceDependency[PostgresResource]

    @contextmanager
    def lease(self) -> Iterator[Sandbox]:
        """A sandbox that is nobody else's for the length of the block.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        sandbox = Sandbox.open(self.postgres.databases().sandbox)
        try:
            yield sandbox
        finally:
            sandbox.close()

    def fingerprint(self) -> str:
        """Hex SHA-256 of all rows of the first free sandbox, which should have none.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        with self.lease() as sandbox:
            return sandbox.fingerprint()

    def reset(self) -> str:
        """Remove the first free sandbox and make it anew; returns its fingerprint.

        Raises:
            InfrastructureError: the database does not answer or refuses.
        """
        with self.lease() as sandbox:
            sandbox.destroy()
        return self.fingerprint()
