"""The stores of a project."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from crm_assets.errors import ConfigError
from crm_assets.workspace.project import Project
from crm_assets.workspace.store.objects import OUTAGE_SECONDS, ObjectStore
from crm_assets.workspace.store.uploads import Artifacts

__all__ = ["artifacts_of", "datasets_of"]

OUTAGE_VARIABLE: Final = "CRM_ASSETS_ARTIFACTS_OUTAGE_SECONDS"
CACHE_VARIABLE: Final = "CRM_ASSETS_CACHE_GB"
_CACHE_GB: Final = 50.0


def artifacts_of(project: Project) -> Artifacts | None:
    """Return the local copies of a project's artifacts; None where they are in a folder.

    Raises:
        ConfigError: a variable is wrong, or no library for this kind of store is installed.
    """
    url = project.artifacts_url
    return None if url is None else _opened(project, project.artifacts, url)


def datasets_of(project: Project) -> Artifacts | None:
    """Return the local copies of a project's datasets; None where they are in a folder.

    Raises:
        ConfigError: as for `artifacts_of`.
    """
    url = project.data_url
    return None if url is None else _opened(project, project.conversations, url)


def _opened(project: Project, root: Path, url: str) -> Artifacts:
    outage = _number(project, OUTAGE_VARIABLE, OUTAGE_SECONDS)
    return _open(root, url, outage, _number(project, CACHE_VARIABLE, _CACHE_GB) * 1e9, os.getpid())


@lru_cache(maxsize=16)
def _open(root: Path, url: str, outage_seconds: float, cache_bytes: float, _pid: int) -> Artifacts:
    """Open a store once a process: what was forked has connections of its own."""
    return Artifacts(root, ObjectStore(url, outage_seconds=outage_seconds), cache_bytes=cache_bytes)


def _number(project: Project, variable: str, default: float) -> float:
    text = project.setting(variable)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{variable} must be a number from 0, not {text!r}.")
    return number
