"""What tasks say of the judge: as the configuration has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.defs.assets.tasks import TasksConfig
from crm_assets.errors import ConfigError
from crm_assets.workspace.project import Project
from tests.projects import REPOSITORY

DEV = REPOSITORY / "configs" / "atlas" / "crm_harness.dev.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose own configuration asks no judge, and another one that does."""
    project = Project(tmp_path)
    project.configs.mkdir(parents=True)
    text = DEV.read_text()
    (project.configs / DEV.name).write_text(text)
    (tmp_path / "judged.yaml").write_text(text.replace("use_llm_judge: false", "use_llm_judge: true"))
    return project


@pytest.mark.parametrize(
    ("plan", "asked"),
    [
        (SessionPlan(), False),
        (SessionPlan(config=Path("judged.yaml")), True),
        (SessionPlan(agent="student", config=Path("judged.yaml")), True),
        (SessionPlan(agent="replay"), False),
    ],
)
def test_tasks_say_what_the_configuration_says(project: Project, plan: SessionPlan, asked: bool) -> None:
    assert TasksConfig.of(plan).asks_judge(project) is asked


def test_a_configuration_that_is_missing_is_named(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        TasksConfig(config="gone.yaml").asks_judge(project)
