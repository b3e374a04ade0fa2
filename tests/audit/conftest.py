"""A finished baseline, made by the same parts as a real one but for Dagster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crm_assets.atlas.scripted_run import run_sessions
from crm_assets.atlas.tasks import write_tasks
from crm_assets.audit import write_manifest
from crm_assets.audit.recompute import recompute_metrics, recompute_readme
from crm_assets.conversations import read_revision
from crm_assets.database import Databases
from crm_assets.generator import write_dataset
from crm_assets.harness import AgentSpec
from crm_assets.reporting import page_code, write_metrics
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json, write_text
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

KEY = BaselineKey.of("sealed", "20260131T093000Z")
DATASET = "data/conversations/sealed.jsonl"


@pytest.fixture(scope="session")
def made(embedded_project: Project, databases: Databases) -> BaselinePaths:
    """Nobody's run over six conversations, so that there is something to be wrong in."""
    source = embedded_project.dataset_file(KEY.dataset)
    write_dataset(source, 6, seed=11)
    paths = BaselinePaths.of(embedded_project, KEY)
    revision = read_revision(source, KEY.dataset, root=embedded_project.root)
    write_json(paths.revision, revision.model_dump(mode="json"))
    write_tasks(source, paths.tasks, dataset_revision=revision.sha256, run_id=KEY.run_id)
    run_sessions(
        paths,
        project=embedded_project,
        databases=databases,
        dataset=KEY.dataset,
        agent=AgentSpec("noop"),
    )
    write_pages(embedded_project, paths)
    return paths


@pytest.fixture
def project(embedded_project: Project, made: BaselinePaths, tmp_path: Path) -> Project:
    """A copy of it all: nothing that is computed again asks a database."""
    for part in ("data", "artifacts"):
        shutil.copytree(embedded_project.root / part, tmp_path / part)
    return Project(tmp_path)


@pytest.fixture
def paths(project: Project) -> BaselinePaths:
    """The baseline's files."""
    return BaselinePaths.of(project, KEY)


def write_pages(project: Project, paths: BaselinePaths) -> None:
    """Make of the sessions what is made of them, and seal it."""
    revision = read_revision(project.dataset_file(KEY.dataset), KEY.dataset, root=project.root)
    metrics = recompute_metrics(project, paths, revision)
    write_metrics(paths.metrics, metrics)
    write_text(paths.readme, recompute_readme(metrics, revision))
    write_manifest(paths, written_by=page_code())
