"""The stores of a project, where it has any: the package `store` is only imported then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.workspace.store import Artifacts

__all__ = ["TRANSFERS_LOGGER", "publish", "stored_artifacts", "stored_datasets", "url_of", "working_on"]

TRANSFERS_LOGGER = "crm_assets.workspace.store"
"""The command line listens here: to long transfers, and outages of a store."""


def stored_artifacts(project: Project) -> Artifacts | None:
    """Return the local copies of a project's artifacts; None where they are in a folder.

    Raises:
        ConfigError: a variable is wrong, or no library for this kind of store is installed.
    """
    if project.artifacts_url is None:
        return None
    from crm_assets.workspace.store import artifacts_of  # noqa: PLC0415

    return artifacts_of(project)


def stored_datasets(project: Project) -> Artifacts | None:
    """Return the local copies of a project's datasets; None where they are in a folder.

    Raises:
        ConfigError: as for `stored_artifacts`.
    """
    if project.data_url is None:
        return None
    from crm_assets.workspace.store import datasets_of  # noqa: PLC0415

    return datasets_of(project)


@contextmanager
def working_on(
    project: Project, folder: Path, *, unless: Callable[[], bool], shared: bool = False
) -> Iterator[None]:
    """Work on the files of a run or study, under its lease, as `Artifacts.working_on` does.

    Without a store, and for a folder elsewhere, do nothing.
    """
    copies = stored_artifacts(project) if folder.is_relative_to(project.artifacts) else None
    if copies is None:
        yield
        return
    with copies.working_on(folder, unless=unless, shared=shared):
        yield


def publish(project: Project, folder: Path, *shared: str) -> None:
    """Upload what was written in a folder of the artifacts, if there is a store.

    Args:
        project: whose artifacts they are.
        folder: of a run, under its lease; or of a dataset.
        shared: files of the dataset, of which the newest version counts, whoever wrote it; left out, all of
            the run's.

    Raises:
        WrittenElsewhere: somebody else has written the same file.
        InfrastructureError: the store does not answer; the files are kept here.
    """
    if copies := stored_artifacts(project):
        copies.publish(folder, shared or None, shared=bool(shared))


def url_of(project: Project, path: Path) -> str | None:
    """Return the URL of a file of the artifacts; None without a store."""
    copies = stored_artifacts(project)
    return copies.url_of(path) if copies and path.is_relative_to(project.artifacts) else None
