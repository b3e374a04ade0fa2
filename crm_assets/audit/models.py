"""What is known of where a baseline came from; dumped as JSON, what `lineage --json` prints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from crm_assets.conversations import DatasetRevision
from crm_assets.records import Scalar

__all__ = [
    "Check",
    "DagsterRecords",
    "DagsterRun",
    "FileEntry",
    "Lineage",
    "Materialized",
    "Scalar",
    "Verification",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileEntry(_Part):
    """A file of a baseline, as it is now."""

    name: str
    """Its path in the baseline's folder."""
    bytes: int
    """Its size."""
    sha256: str
    """Hex SHA-256 of its content."""


class DagsterRun(_Part):
    """A Dagster run that worked on the baseline."""

    run_id: str
    job: str
    status: str
    """Dagster's word, as in `SUCCESS`."""
    started: str | None
    """ISO 8601, UTC; null for a run that never began."""
    ended: str | None
    """ISO 8601, UTC."""


class Materialized(_Part):
    """The last time an asset was materialized for the baseline."""

    asset: str
    run_id: str | None
    """Null for one that no run made, but a command."""
    at: str
    """ISO 8601, UTC."""
    file: str | None
    """The file that it made, by its name; null where it does not say."""
    sha256: str | None
    """Hex SHA-256 of that file's content then."""
    code_version: str | None
    """The asset's, then."""


class DagsterRecords(_Part):
    """What Dagster's storage knows of a baseline."""

    runs: tuple[DagsterRun, ...]
    """Oldest first."""
    materializations: tuple[Materialized, ...]
    """The last one of each asset, in the lineage's order."""


class Check(_Part):
    """One thing that was computed again."""

    file: str
    """What it is about: a file's path in the baseline's folder, or in the project."""
    what: str
    """What was looked at."""
    problem: str | None
    """What is wrong, in a sentence; null for nothing."""


class Verification(_Part):
    """What came of computing everything again."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    """What could not be looked at, and why."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failed_files

    @property
    def failed_files(self) -> tuple[str, ...]:
        """The files with which something is wrong."""
        return tuple(dict.fromkeys(check.file for check in self.checks if check.problem is not None))


class Lineage(_Part):
    """Where a baseline came from."""

    schema_version: Literal[1] = 1
    """Version of this layout."""
    baseline: str
    """`dataset|run`, Dagster's partition key."""
    run_id: str
    """How tasks, sessions and telemetry name the run."""
    folder: str
    """Where its files are, in the project."""
    dataset: DatasetRevision | None
    """The data: hash, git commit, size; null where revision.json cannot be read."""
    agent: dict[str, Scalar]
    """Who worked, with every setting by its path."""
    models: dict[str, Scalar]
    """By role, as `provider/model`."""
    prompts: dict[str, Scalar]
    """Hashes of the prompts, by role."""
    config_path: Scalar
    """The Atlas configuration; null where no model was asked."""
    config_sha256: Scalar
    """Beginning of the hash of everything in it that can change a result, overrides included."""
    software: dict[str, Scalar]
    """Versions of what took part."""
    git_commit: str | None
    """The commit of the code; null where it was in no git checkout."""
    git_dirty: bool | None
    """Whether the code differed from that commit."""
    imported: dict[str, Any] | None
    """The past results file that the sessions were taken from; null for a run of our own."""
    dagster: DagsterRecords | None
    """Null where Dagster's storage does not answer (see `problems`)."""
    telemetry_sessions: dict[str, int] | None
    """IDs in the telemetry database, by session; null where none are kept there, or it does not answer."""
    files: tuple[FileEntry, ...]
    """Every file in the folder, as it is now."""
    problems: tuple[str, ...]
    """What could not be found out, and why."""
    verification: Verification | None = None
    """Null where it was not asked for."""
