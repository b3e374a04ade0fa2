"""The folders of a project.

A project is the folder that holds `workspace.yaml`: the one `CRM_ASSETS_HOME` names, else the nearest
one at or above the current folder, else the current folder.

`CRM_ASSETS_ARTIFACTS` names another place for its artifacts, and `CRM_ASSETS_DATA` one for its datasets: a
folder, or a URL of object storage (see `workspace.local_copies`), in the environment or in the `.env` file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crm_assets.errors import ConfigError

__all__ = ["ARTIFACTS_VARIABLE", "DATA_VARIABLE", "Project", "find_project"]

ARTIFACTS_VARIABLE = "CRM_ASSETS_ARTIFACTS"
DATA_VARIABLE = "CRM_ASSETS_DATA"


@dataclass(frozen=True)
class Project:
    """The folders of one project, all absolute."""

    root: Path

    @cached_property
    def artifacts(self) -> Path:
        """Return the folder of all that runs leave; of a store, that of its local copies."""
        return self._folder(ARTIFACTS_VARIABLE, self.root / "artifacts")

    @cached_property
    def artifacts_url(self) -> str | None:
        """Return the URL of the store that the artifacts are in; None for a folder."""
        return self._url(ARTIFACTS_VARIABLE)

    @cached_property
    def conversations(self) -> Path:
        """Return the folder of the datasets, `<name>.jsonl` each; of a store, that of its local copies."""
        usual = self.root / "data" / "conversations"
        return self._folder(DATA_VARIABLE, self.state / "datasets" if self.data_url else usual)

    @cached_property
    def data_url(self) -> str | None:
        """Return the URL of the store that the datasets are in; None for a folder."""
        return self._url(DATA_VARIABLE)

    @property
    def baselines(self) -> Path:
        """Return the folder of the baselines, `<dataset>/<run>/atlas/` each."""
        return self.artifacts / "baselines"

    @property
    def identity(self) -> Path:
        """Return the file of the project's identity."""
        return self.artifacts / "project.json"

    @property
    def playbooks(self) -> Path:
        """Return the folder of the playbooks' snapshots, `<namespace>/<time>.json` each."""
        return self.artifacts / "playbooks"

    @property
    def state(self) -> Path:
        """Return the folder of data that can be recreated: the embedded server's, caches."""
        return self.root / ".crm_assets"

    @property
    def dagster_home(self) -> Path:
        """Return Dagster's instance folder."""
        return self.root / "dagster_home"

    @property
    def configs(self) -> Path:
        """Return the folder of the Atlas configurations."""
        return self.root / "configs" / "atlas"

    def setting(self, variable: str) -> str | None:
        """Return a variable of the environment, else of the `.env` file; an empty one counts as not set.

        Raises:
            ConfigError: the file is damaged.
        """
        return os.environ.get(variable) or self._env_file.get(variable) or None

    @cached_property
    def _env_file(self) -> dict[str, str | None]:
        path = self.root / ".env"
        if not path.is_file():
            return {}
        from crm_assets.workspace.environment import read_env_file  # noqa: PLC0415  (only where there is one)

        return read_env_file(path)

    def _folder(self, variable: str, usual: Path) -> Path:
        named = self.setting(variable)
        if named is None or _is_url(named):
            return usual
        return (self.root / Path(named.removeprefix("file://")).expanduser()).resolve()

    def _url(self, variable: str) -> str | None:
        named = self.setting(variable)
        if named is None or not _is_url(named):
            return None
        protocol, _, place = named.rstrip("/").partition("://")
        bucket = place.partition("/")[0]
        if not protocol or not bucket or any(mark in place for mark in "@?#"):
            # Not the value itself: it may hold a password.
            raise ConfigError(
                f"{variable} must be a folder, or a URL of bucket and folder alone, as in "
                "s3://bucket/folder; credentials are taken from the provider's usual places."
            )
        return f"{protocol}://{place}"

    def dataset_file(self, dataset: str) -> Path:
        """Return the file of `dataset`."""
        return self.conversations / f"{dataset}.jsonl"

    def relative(self, path: Path) -> str:
        """Return `path` as it reads inside the project, so that the project can be moved."""
        absolute = path.resolve()
        return (absolute.relative_to(self.root) if absolute.is_relative_to(self.root) else path).as_posix()


def _is_url(place: str) -> bool:
    return "://" in place and not place.startswith("file://")


def find_project() -> Project:
    """Return the project that this process works in."""
    named = os.environ.get("CRM_ASSETS_HOME")
    if named:
        return Project(Path(named).expanduser().resolve())
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "workspace.yaml").is_file():
            return Project(folder)
    return Project(here)
