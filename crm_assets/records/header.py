"""run.json: the facts of a run, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from crm_assets.conversations.split import Subset
from crm_assets.records.estimate import CostEstimate

__all__ = [
    "RUN_SCHEMA_VERSION",
    "ImportedFile",
    "PlaybookUse",
    "ReplayedRun",
    "RunHeader",
    "Scalar",
    "merge_software",
]

RUN_SCHEMA_VERSION: Final = 2
"""Version of run.json and of the lines of sessions.jsonl, which are written together."""

_IDENTITY = {"schema_version", "tasks_sha256", "agent", "settings", "code", "replay_of"}

Scalar = str | int | float | bool | None
"""A leaf of a JSON document."""


class ImportedFile(BaseModel):
    """The past results file that the sessions of an imported run were taken from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    """Its name when it was imported."""
    sha256: str
    """Hex SHA-256 of its content."""
    format: str
    """`clbench`, `crm_assets_results`, `crm_assets_sessions` or `inspect`."""


class ReplayedRun(BaseModel):
    """The run that another one repeats; of a replay of a replay, the run that called the models."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: str | None = None
    """Its dataset; None if the file belongs to no baseline of the project."""
    run: str | None = None
    """Its key; None if the file belongs to no baseline of the project."""
    file: str
    """The file that was replayed, relative to the project: a ledger or a session log."""
    sha256: str
    """Hex SHA-256 of its content."""

    @property
    def name(self) -> str:
        """The run's key, or else the file."""
        return self.run or self.file


class PlaybookUse(BaseModel):
    """The playbook that a run read, and what it left; playbook.json has the entries."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str
    """Whose playbook."""
    entries: int
    """Active entries before the run, of its learning keys."""
    version: int
    """Changes before the run."""
    sha256: str
    """Hex SHA-256 of what was there before the run."""
    taught_by: int
    """Conversations of the run that had taught it before: their results may be remembered."""
    entries_after: int
    """Active entries after the run."""
    version_after: int
    """Changes by then."""
    sha256_after: str
    """Hex SHA-256 of what was there after the run."""
    awaiting_approval: int = 0
    """Sessions of the run whose lesson waits for approval."""


class RunHeader(BaseModel):
    """Facts that all sessions of a run share. None stands for what is unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[2] = RUN_SCHEMA_VERSION
    """Version of this document and of the sessions beside it."""
    run_id: str | None = None
    """Identifier of the run, as in its task IDs."""
    dataset: str | None = None
    """Name of the dataset."""
    dataset_revision: str | None = None
    """Hex SHA-256 of the dataset's file."""
    tasks_sha256: str | None = None
    """Hex SHA-256 of tasks.jsonl."""
    agent: dict[str, Any] | None = None
    """The agent and every setting that can change a result."""
    settings: dict[str, Any] | None = None
    """Everything in the Atlas configuration that can change a result; None if no model is asked."""
    code: str | None = None
    """Hex SHA-256 of the code that decides results: tools, states, verdicts and, with models, requests."""
    backend: str | None = None
    """Backend of the CRM."""
    use_llm_judge: bool | None = None
    """A judge decides on calls and replies that are not equal to the expected ones."""
    config_path: str | None = None
    """The Atlas configuration, relative to the project; None if no model is asked."""
    conversations_path: str | None = None
    """The dataset's file, relative to the project."""
    tasks_path: str | None = None
    """The run's tasks.jsonl, relative to the project."""
    software: dict[str, str] = {}
    """Versions of what takes part, by name; a run that was resumed may name two, separated by a comma."""
    imported: ImportedFile | None = None
    """None if the run is no import."""
    subset: Subset | None = None
    """The part of the dataset that was run; None for all of it, or the first of it."""
    replay_of: ReplayedRun | None = None
    """The run that this one repeats: its model calls, or its recorded calls. None for a run of its own."""
    playbook: PlaybookUse | None = None
    """The playbook that was read and written; None for a run that uses none, or did not record it."""
    project: str | None = None
    """Identity of the project; None for a run of an older version."""
    estimate: CostEstimate | None = None
    """Its cost as estimated before it began; None if nothing was to be paid, or it is not recorded."""
    answered_by: dict[str, tuple[str, ...]] = {}
    """Models that answered, by requested model, as `<model> at <server>`; more than one: a mixed run."""

    @property
    def epochs(self) -> int:
        """Number of times that each task is run."""
        epochs = (self.agent or {}).get("epochs", 1)
        return epochs if isinstance(epochs, int) else 1

    @property
    def agent_config(self) -> dict[str, Any] | None:
        """The agent with its settings and, for an import, the file that it was taken from."""
        if self.agent is None or self.imported is None:
            return self.agent
        return {**self.agent, "imported": self.imported.model_dump()}

    @property
    def agent_name(self) -> str | None:
        """Name of the agent."""
        name = (self.agent or {}).get("name")
        return name if isinstance(name, str) else None

    def identity(self) -> dict[str, Any]:
        """Return what makes a run this run: only the same can resume its sessions."""
        return self.model_dump(include=_IDENTITY)

    def facts(self) -> dict[str, Any]:
        """Return all that is known of the run besides its identity."""
        return self.model_dump(exclude=_IDENTITY)


def merge_software(*versions: Mapping[str, str]) -> dict[str, str]:
    """Name all versions that a run has seen: one that was resumed may have seen two of a thing."""
    seen: dict[str, set[str]] = {}
    for each in versions:
        for name, version in each.items():
            seen.setdefault(name, set()).update(version.split(", "))
    return {name: ", ".join(sorted(found)) for name, found in seen.items()}
