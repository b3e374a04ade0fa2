"""Every option of a plan, through every way that a user can write it, arrives where sessions are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crm_assets.atlas.model_run import ModelTaskRun
from crm_assets.atlas.plan import MODEL_AGENTS, SCRIPTED_AGENTS, SessionPlan, plan_fields
from crm_assets.atlas.scripted_run import ScriptedRun
from crm_assets.cli import cli
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.errors import InputError
from crm_assets.workspace.project import Project
from tests.plans import as_flags, every_option

from .conftest import Run

KEY = "20260131T093000Z"


class Stop(InputError):
    """Ends a run where its sessions would begin."""


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collects what reaches the engine, instead of running it."""
    seen: list[dict[str, Any]] = []

    def models(run: ModelTaskRun) -> None:
        seen.append({"run": run.model_run})
        raise Stop("stopped by the test")

    def scripted(run: ScriptedRun) -> None:
        seen.append({"agent": run.agent, "limits": run.limits})
        raise Stop("stopped by the test")

    monkeypatch.setattr(ModelTaskRun, "prepare", models)
    monkeypatch.setattr(ScriptedRun, "prepare", scripted)
    return seen


Start = Callable[[list[str]], tuple[str, ...]]

WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "baseline": (("baseline", "--dataset", "small", "--limit", "1"), (*MODEL_AGENTS, *SCRIPTED_AGENTS)),
    "backfill": (
        ("backfill", "--dataset", "small", "--limit", "1", "--new", "1", "--here"),
        (*MODEL_AGENTS, *SCRIPTED_AGENTS),
    ),
    "atlas run": (("atlas", "run", "--task-file", "tasks.jsonl", "--output-dir", "out"), MODEL_AGENTS),
    "atlas smoke": (("atlas", "smoke", "--dataset", "small"), ("atlas",)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_option_of_every_command_reaches_the_engine(
    way: str, run: Run, project: Project, arrived: list[dict[str, Any]]
) -> None:
    command, agents = WAYS[way]
    run("tasks", "--dataset", "small", "--run", KEY, "--limit", "1")
    (project.root / "tasks.jsonl").write_bytes(
        (project.baselines / "small" / KEY / "atlas" / "tasks.jsonl").read_bytes()
    )
    plans = [plan for plan in every_option(project) if plan.agent in agents]
    for plan in plans:
        arrived.clear()
        result = run(*command, *as_flags(plan))
        assert len(arrived) == 1, result.output
        acts(plan, arrived[0])


def acts(plan: SessionPlan, arrived: dict[str, Any]) -> None:
    """Check each field of `plan` where the engine reads it."""
    if not plan.asks_models:
        assert (arrived["agent"].name, arrived["agent"].recorded) == (plan.agent, plan.recorded)
        limits = arrived["limits"]
        assert (limits.workers, limits.concurrency) == (plan.workers, plan.concurrency)
        return
    run = arrived["run"]
    assert run.plan == plan
    config = run.config.config
    in_use = {
        "config": run.config.path,
        "student": config.agent.llm.name,
        "teacher": config.teacher.llm.name,
        "judge": config.rim.small_model.name,
        "learner": config.learning.llm.name,
        "learning": run.config.learning_mode,
        "mode": config.orchestration.forced_mode,
        "feedback": config.feedback,
        "engine": config.engine,
        "replay": run.replay,
    }
    assert in_use == {name: getattr(plan, name) for name in in_use}
    # The others are read from the plan itself.
    assert run.plan.sessions_at_a_time == plan.concurrency
    assert run.by_sdk is (plan.agent == "atlas")


def test_every_option_of_the_launchpad_reaches_the_plan(project: Project) -> None:
    for plan in every_option(project):
        assert SessionsConfig.of(plan).plan() == plan
    assert SessionsConfig().plan() == SessionPlan()


def test_commands_offer_the_fields_that_act_with_their_agents() -> None:
    offered: dict[str, set[str]] = {}
    for name, command in ((name, _command(name)) for name in (*WAYS, "harness")):
        assert isinstance(command, PlanCommand)
        params = command.get_params(command.make_context(name, ["--help"], resilient_parsing=True))
        offered[name] = {param.name or "" for param in params} & {field.name for field in plan_fields()}
    every = {field.name for field in plan_fields()}
    assert offered["baseline"] == offered["backfill"] == every
    assert offered["atlas run"] == every - {"recorded", "workers"}
    assert offered["atlas smoke"] == every - {"recorded", "workers", "agent"}
    assert offered["harness"] == {"agent", "recorded", "concurrency", "workers"}


def _command(path: str) -> Any:
    command: Any = cli
    for name in path.split():
        command = command.commands[name]
    return command
