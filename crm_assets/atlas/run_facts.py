"""Facts of a run, whoever works: what all its sessions have in common, and what makes it this run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crm_assets.atlas.software import software_versions
from crm_assets.database import Databases
from crm_assets.harness import code_fingerprint
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.project import Project

__all__ = ["run_facts", "run_identity"]


def run_facts(
    files: RunFiles,
    project: Project,
    dataset: str,
    databases: Databases,
    agent: Mapping[str, Any],
    *,
    config: Path | None,
) -> dict[str, Any]:
    """Return what all sessions of a run have in common."""
    return {
        "dataset": dataset,
        "agent": agent,
        "config_path": None if config is None else _relative(config, project),
        "conversations_path": _relative(project.dataset_file(dataset), project),
        "tasks_path": _relative(files.tasks, project),
        # Only runs that ask models have a configuration, and only for them litellm matters.
        "software": software_versions(databases.sandbox, more=("litellm",) if config else ()),
    }


def run_identity(files: RunFiles, agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a run this run: only the same can resume its sessions."""
    return {
        "tasks_sha256": sha256_of_file(files.tasks),
        "agent": agent,
        "code": code_fingerprint(),
    }


def _relative(path: Path, project: Project) -> str:
    """Return `path` as it reads inside the project, so that a baseline can be moved."""
    absolute = path.resolve()
    return (
        absolute.relative_to(project.root) if absolute.is_relative_to(project.root) else path
    ).as_posix()
