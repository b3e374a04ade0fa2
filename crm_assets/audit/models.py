"""The lineage of a baseline; dumped as JSON, it is what `lineage --json` prints."""

from __future__ import annotations

from typing import Literal

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
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """The records of a baseline in Dagster's storage."""

    runs: tuple[DagsterRun, ...]
    """Oldest first."""
    materializations: tuple[Materialized, ...]
    """The last one of each asset, in the lineage's order."""
    published: tuple[dict[str, str], ...] = ()
    """{file: hex SHA-256} of the whole baseline, each time its README was made, newest first."""


class Check(_Part):
    """One check."""

    file: str
    """The checked file: its path in the baseline's folder, or in the project."""
    what: str
    """The property that was checked."""
    problem: str | None
    """The problem, in a sentence; null if there is none."""


class Verification(_Part):
    """The result of recomputing everything."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    """Checks that could not be made, and why."""

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return not self.failed_files

    @property
    def failed_files(self) -> tuple[str, ...]:
        """The files that failed a check."""
        return tuple(dict.fromkeys(check.file for check in self.checks if check.problem is not None))


class Lineage(_Part):
    """The origin of a baseline."""

    schema_version: Literal[1] = 1
    """Version of this layout."""
    baseline: str
    """`dataset|run`, Dagster's partition key."""
    run_id: str
    """The run's name in tasks, sessions and telemetry."""
    folder: str
    """Folder of its files, in the project."""
    dataset: DatasetRevision | None
    """The data: hash, git commit, size; null where revision.json cannot be read."""
    agent: dict[str, Scalar]
    """The agent, every setting by its path."""
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
    """The code differed from that commit."""
    imported: dict[str, object] | None
    """The past results file that the sessions were taken from; null for a run of our own."""
    playbook: dict[str, Scalar] | None = None
    """The playbook that was read, and what the run left; null where none was used or recorded."""
    replay_of: dict[str, Scalar] | None = None
    """The run that this one repeats: nothing was measured anew; null for a run of its own."""
    dagster: DagsterRecords | None
    """Null where Dagster's storage does not answer (see `problems`)."""
    telemetry_sessions: dict[str, int] | None
    """IDs in the telemetry database, by session; null where none are kept there, or it does not answer."""
    files: tuple[FileEntry, ...]
    """Every file in the folder, as it is now."""
    problems: tuple[str, ...]
    """Facts that could not be found, and why."""
    verification: Verification | None = None
    """Null if verification was not requested."""
