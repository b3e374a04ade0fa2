"""The header of a run: what all its sessions have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crm_assets.atlas.software import software_versions
from crm_assets.atlas.tasks import read_tasks
from crm_assets.database import Databases
from crm_assets.harness import MODEL_CODE, SCORING_CODE, code_fingerprint
from crm_assets.records import ReplayedRun, RunHeader
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project

__all__ = ["run_header"]


def run_header(
    files: RunFiles,
    project: Project,
    dataset: str,
    databases: Databases,
    agent: Mapping[str, Any],
    *,
    config: Path | None,
    settings: Mapping[str, Any] | None = None,
    judged: bool = False,
    replay_of: ReplayedRun | None = None,
) -> RunHeader:
    """Return what all sessions of a run have in common.

    Args:
        files: of the run; its tasks must be there.
        project: where the dataset is.
        dataset: its name.
        databases: where the sandboxes are.
        agent: the agent and every setting that can change a result.
        config: the Atlas configuration; None if no model is asked.
        settings: everything in it that can change a result.
        judged: a judge is asked even if the tasks do not say so.
        replay_of: the run that is repeated; None for a run of its own.
    """
    task = next(read_tasks(files.tasks))
    code = code_fingerprint(MODEL_CODE if config else SCORING_CODE)
    return RunHeader(
        run_id=task.run_id,
        dataset=dataset,
        dataset_revision=task.dataset_revision,
        tasks_sha256=sha256_of_file(files.tasks),
        agent=dict(agent),
        settings=None if settings is None else dict(settings),
        code=code,
        backend=task.backend,
        use_llm_judge=judged or task.use_llm_judge,
        config_path=None if config is None else project.relative(config),
        conversations_path=project.relative(project.dataset_file(dataset)),
        tasks_path=project.relative(files.tasks),
        subset=task.subset,
        replay_of=replay_of,
        project=project_id(project),
        # Only runs that ask models have a configuration, and only for them litellm matters.
        software=software_versions(databases.sandbox, code, more=("litellm",) if config else ()),
    )
