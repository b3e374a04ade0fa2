"""What a run will cost is shown before it begins, and asked for where it may be much."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from crm_assets.atlas.plan import SessionPlan
from crm_assets.cli import cli, consent
from crm_assets.defs.assets import atlas_sessions
from crm_assets.errors import InputError
from crm_assets.orchestration.materialize import LineageOptions, materialize, open_instance
from crm_assets.workspace.baseline_files import BaselinePaths, finished_runs
from crm_assets.workspace.files import read_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.atlas.loop import models_at, offline_models
from tests.llm.scripted_server import ScriptedServer

from .conftest import KEY, Run

LIMIT = 0.02


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-that-costs")
    with ScriptedServer(offline_models) as server:
        yield server


@pytest.fixture
def config(project: Project, server: ScriptedServer) -> Path:
    """A configuration of models that cost something; a run may cost two cents."""
    path = project.root / "paid.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                **models_at(server.url),
                "orchestration": {"forced_mode": "paired"},
                "runtime_safety": {"review": {"require_approval": False}},
                "confirm_above_usd": LIMIT,
            }
        )
    )
    return path


def test_a_key_in_the_environment_starts_no_run_of_unknown_cost(
    run: Run, config: Path, server: ScriptedServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = {
        "baseline": ("baseline", "--dataset", "small"),
        "backfill": ("backfill", "--dataset", "small", "--new", 2, "--here"),
        "smoke": ("atlas", "smoke", "--dataset", "small"),
        "study": ("study", "--dataset", "small"),
    }
    for name, command in commands.items():
        refused = run(*command, "--config", config)
        assert refused.exit_code == 2, (name, refused.output)
        assert "more than $0.0200 (confirm_above_usd), and has no budget" in refused.stderr, name
        assert "Estimated cost $" in refused.stderr and "the conversations' text alone" in refused.stderr
    assert not list(project.baselines.glob("small/*/atlas/*"))

    monkeypatch.setattr(consent, "_has_terminal", lambda: True)
    arguments = [*map(str, commands["baseline"]), "--config", str(config)]
    no = CliRunner().invoke(cli, arguments, input="n\n")
    assert "Run it without a budget? [y/N]" in no.stderr
    assert no.exit_code == 1
    assert server.requests == [], "nothing was asked"


def test_a_run_keeps_its_estimate_and_tells_what_it_came_to(
    run: Run, config: Path, server: ScriptedServer, project: Project
) -> None:
    options = ("baseline", "--dataset", "small", "--limit", 2, "--config", config)
    first = run(*options, "--run", KEY, "--yes")
    assert first.exit_code == 0, first.output
    (paths,) = finished_runs(project, "small")
    metrics = read_json(paths.metrics)
    estimate = metrics["estimate"]
    assert read_json(paths.run)["estimate"] == estimate
    assert estimate["usd_low"] < metrics["total_cost_usd"] < estimate["usd_high"]
    assert (estimate["sessions"], estimate["measured_sessions"]) == (2, 0)
    assert set(estimate["by_role"]) == {"student", "teacher", "judge", "learner"}
    assert " × the estimate. Estimated from the conversations' text alone." in paths.readme.read_text()

    again = run(*options, "--budget-usd", 0.5)
    assert again.exit_code == 0, again.output
    assert f"From 2 sessions of this configuration in small|{KEY}." in again.stderr
    (_, second) = finished_runs(project, "small")
    metrics = read_json(second.metrics)
    assert metrics["estimate"]["usd_low"] < metrics["total_cost_usd"] < metrics["estimate"]["usd_high"]


def test_what_the_launchpad_starts_is_refused_before_a_model_is_asked(
    run: Run, config: Path, server: ScriptedServer, project: Project
) -> None:
    key, plan = BaselineKey.of("small", KEY), SessionPlan(agent="student", config=config)
    with pytest.raises(InputError, match=r"This may cost \$.*in the launchpad accept_cost"):
        materialize(project, key, LineageOptions(plan))
    paths = BaselinePaths.of(project, key)
    assert server.requests == [] and not paths.revision.exists(), "it is refused before its first stage"

    materialize(project, key, LineageOptions(plan, limit=1, accept_cost=True))
    assert paths.finished and server.requests
    with open_instance(project) as instance:
        event = instance.get_latest_materialization_event(atlas_sessions.key)
        assert event is not None and event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
    assert metadata["estimated_usd"].value == read_json(paths.run)["estimate"]["usd"]
    assert str(metadata["estimate"].value).startswith("Estimated cost $")
