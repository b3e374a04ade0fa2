"""A sweep's file, its runs, and the parts that they take of its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from crm_assets.atlas.saved_plan import save_plan, saved_plan
from crm_assets.atlas.sweep import SavedSweep, read_spec
from crm_assets.atlas.sweep_budget import planned, spent_by
from crm_assets.errors import InputError
from crm_assets.llm import BudgetExhausted, Ledger, LedgerEntry
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json
from crm_assets.workspace.keys import RunKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.sweep_files import SweepPaths

KEY = "20260131T093000Z-trial"


def sweep(tmp_path: Path, **document: Any) -> SavedSweep:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({"datasets": ["dev"], "name": "trial", **document}))
    return SavedSweep(run=KEY, spec=read_spec(file))


def labels(found: SavedSweep) -> list[str]:
    return [f"{run.key.dataset} {run.key.run.label}" for run in found.runs()]


def test_every_combination_is_a_run_repeat_by_repeat(tmp_path: Path) -> None:
    found = sweep(
        tmp_path,
        datasets=["dev", "demo"],
        agents=["student", {"agent": "atlas", "label": "Coached", "mode": "coach"}],
        configurations=["configs/atlas/a.yaml", "configs/atlas/b.yaml"],
        repeats=2,
        limit=5,
    )
    assert len(found.runs()) == 16
    assert labels(found)[:4] == [
        "dev trial-student-a-1",
        "dev trial-student-b-1",
        "dev trial-coached-a-1",
        "dev trial-coached-b-1",
    ]
    assert labels(found)[8] == "dev trial-student-a-2"
    student, _, coached = (run.plan for run in found.runs()[:3])
    assert (student.agent, student.config, student.mode) == ("student", Path("configs/atlas/a.yaml"), None)
    assert (coached.agent, coached.mode) == ("atlas", "coach")
    again = SavedSweep.model_validate_json(
        orjson.dumps(found.model_dump(mode="json", exclude_defaults=True))
    )
    assert again == found and again.runs() == found.runs()


def test_runs_that_learn_do_not_teach_each_other(tmp_path: Path) -> None:
    long = "x" * 90
    found = sweep(tmp_path, datasets=["dev", "demo", long], repeats=2).runs()
    names = [run.plan.namespace for run in found]
    assert names[:2] == ["dev-20260131t093000z-trial-atlas-1", "demo-20260131t093000z-trial-atlas-1"]
    assert len(set(names)) == 6, "the same run of another dataset has another"
    for options in ({"namespace": "shared"}, {"learning": "off"}):
        (run,) = sweep(tmp_path, options=options).runs()
        assert run.plan.namespace == options.get("namespace")


def test_an_agent_without_models_is_run_once_whatever_the_configurations(tmp_path: Path) -> None:
    found = sweep(
        tmp_path, agents=["noop", "student"], configurations=["a.yaml", "b.yaml"], options={"epochs": 2}
    )
    assert labels(found) == ["dev trial-noop-1", "dev trial-student-a-1", "dev trial-student-b-1"]
    noop, student, _ = (run.plan for run in found.runs())
    assert (noop.config, noop.epochs, student.epochs) == (None, 1, 2)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"agent": ["student"]}, "agent is no key of a sweep"),
        ({"datasets": []}, "datasets: Tuple should have at least 1 item"),
        ({"datasets": ["../x"]}, "is not a dataset key"),
        ({"agents": ["psychic"]}, "agents.0.agent: Input should be 'atlas'"),
        ({"repeats": 0}, "repeats: Input should be greater than or equal to 1"),
        ({"budget_usd": -1}, "budget_usd: Input should be greater than 0"),
        ({"options": {"budget_usd": 1}}, "budget_usd is no option of a sweep's runs"),
        ({"agents": [{"agent": "noop", "mode": "coach"}]}, "mode has no effect with agent 'noop'"),
        ({"agents": [{"agent": "atlas", "epoch": 2}]}, "epoch: Extra inputs are not permitted"),
        ({"agents": ["atlas", "atlas"]}, "Two combinations of the sweep would be run dev|"),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence(
    tmp_path: Path, document: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        sweep(tmp_path, **document).runs()
    assert sentence in str(refused.value)


def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    for text, sentence in (
        ("- dev", "is no sweep"),
        ("a: [", "is not YAML"),
        ("name: x", "datasets is missing"),
    ):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(InputError, match=sentence):
            read_spec(tmp_path / "x.yaml")
    with pytest.raises(InputError, match="Cannot read the sweep"):
        read_spec(tmp_path / "gone.yaml")


def spend(paths: BaselinePaths, usd: float) -> None:
    with Ledger(paths.ledger) as ledger:
        ledger.append(
            LedgerEntry(
                session="one", role="student", model="openai/x", request_sha256="0", ordinal=1, attempt=1,
                started_at="2026-01-01T00:00:00+00:00", latency_seconds=0.1, prompt_tokens=1,
                completion_tokens=1, cost_usd=usd,
            )
        )  # fmt: skip


def test_each_run_takes_its_share_of_what_is_left(tmp_path: Path) -> None:
    project = Project(tmp_path)
    found = sweep(tmp_path, agents=["student", "noop"], repeats=3, budget_usd=8.0)
    paid = [run for run in found.runs() if run.plan.asks_models]
    expected = {str(run.key): usd for run, usd in zip(paid, (1.0, 2.0, 1.0), strict=True)}
    found = found.model_copy(update={"expected_usd": expected})
    write_json(SweepPaths.of(project, RunKey.parse(KEY)).plan, found.model_dump(mode="json"))
    runs = [BaselinePaths.of(project, run.key) for run in paid]
    for run, paths in zip(paid, runs, strict=True):
        paths.folder.mkdir(parents=True)
        save_plan(project, paths, run.plan, sweep=KEY)

    def take(paths: BaselinePaths) -> float | None:
        return planned(project, paths).sessions.budget_usd

    assert take(runs[0]) == 2.0, "a quarter of 8, as its estimate is of all"
    runs[0].partial.touch()
    spend(runs[0], 0.5)
    assert take(runs[1]) == 4.0, "two thirds of 8 less the 2 that the first may spend"
    runs[1].partial.touch()
    spend(runs[1], 4.5)  # a call may overshoot
    for file in (runs[0].sessions, runs[0].metrics, runs[0].readme, runs[0].manifest):
        file.touch()
    assert take(runs[2]) == 3.0, "the first left 1.5 of its part, the second took 0.5 too much"
    saved = saved_plan(runs[2])
    assert saved is not None and (saved.sweep, saved.sessions.budget_usd) == (KEY, 3.0)
    runs[2].partial.touch()
    spend(runs[2], 3.0)
    assert spent_by(runs[2]) == 3.0
    with pytest.raises(BudgetExhausted, match=r"The budget of \$8 of sweep \S+-trial is spent"):
        take(runs[1])
