"""The software versions that a baseline records."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psycopg

from crm_assets.errors import InfrastructureError, last_line
from crm_assets.workspace.git import ask_git

__all__ = ["software_versions"]

_PACKAGES = ("crm-assets", "psycopg", "pydantic")


def software_versions(conninfo: str, code: str, *, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions of Python, of packages that affect results, of this code, and of Postgres.

    `crm-assets commit` is present if the package is in a git checkout, ending in `-dirty` if files differ.

    Args:
        conninfo: of the sandbox database.
        code: hex SHA-256 of the code that decides results.
        more: further packages that affect the results of this run.

    Raises:
        InfrastructureError: the database does not answer.
    """
    versions = {"python": platform.python_version()}
    versions |= {name: version(name) for name in (*_PACKAGES, *more)}
    versions["code"] = code[:12]
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
    """Return the commit of the checkout that contains this package; None without one."""
    folder = Path(__file__).resolve().parent.parent
    commit = ask_git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = ask_git(folder, "status", "--porcelain", "--", ".")
    return f"{commit}-dirty" if changed else commit
