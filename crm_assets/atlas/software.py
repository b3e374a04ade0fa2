"""What a run runs on: the versions that a baseline records."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psycopg

from crm_assets.errors import InfrastructureError, last_line
from crm_assets.harness import code_fingerprint
from crm_assets.workspace.git import ask_git

__all__ = ["software_versions"]

_PACKAGES = ("crm-assets", "psycopg", "pydantic")


def software_versions(conninfo: str, *, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of Python, the packages that decide results, this code, and the database's server.

    `code` is a hash of the code that decides what a tool does and a state is; `crm-assets commit` is
    there where the package lies in a git checkout, with `-dirty` where it differs from that commit.

    Args:
        conninfo: of the database.
        more: packages that decide results of this run beside those that always do.

    Raises:
        InfrastructureError: the database does not answer.
    """
    versions = {"python": platform.python_version()}
    versions |= {name: version(name) for name in (*_PACKAGES, *more)}
    versions["code"] = code_fingerprint()[:12]
    commit = _commit()
    if commit is not None:
        versions["crm-assets commit"] = commit
    versions["postgres"] = _server_version(conninfo)
    return versions


def _server_version(conninfo: str) -> str:
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as connection:
            return connection.info.parameter_status("server_version") or "unknown"
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"The sandbox database does not answer ({last_line(error)}); run `crm-assets doctor`."
        ) from error


@cache
def _commit() -> str | None:
    """The commit of the checkout that this package lies in; None where it lies in none."""
    folder = Path(__file__).resolve().parent.parent
    commit = ask_git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = ask_git(folder, "status", "--porcelain", "--", ".")
    return f"{commit}-dirty" if changed else commit
