"""What a run will cost: from the text alone, from earlier sessions, and how sure that is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.tasks import write_tasks
from crm_assets.conversations import Conversation
from crm_assets.generator import generate, write_dataset
from crm_assets.llm import Role
from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.estimate.estimate import estimate_cost, total_of
from crm_assets.reporting.estimate.evidence import Evidence, MeasuredSession
from crm_assets.reporting.estimate.run import RunEstimate, estimate_run
from crm_assets.reporting.estimate.wording import came_to
from crm_assets.reporting.estimate.workload import Workload, workload_of
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project
from tests.atlas.configs import config, model

CONVERSATIONS = list(generate(40, seed=5))
PRICE = {"usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 8.0}


def run_of(plan: SessionPlan | None = None, *, price: dict[str, Any] = PRICE, **sections: Any) -> ModelRun:
    """A run whose models all have one price."""
    places = {"agent": "llm", "teacher": "llm", "learning": "llm"}
    priced = {name: {key: model(name, **price)} for name, key in places.items()}
    priced["rim"] = {"small_model": model("judge", **price), "large_model": model("judge", **price)}
    for name, section in sections.items():
        priced[name] = {**priced.get(name, {}), **section} if isinstance(section, dict) else section
    return ModelRun(plan or SessionPlan(), LoadedConfig(Path("x.yaml"), config(**priced), offline=False))


def estimated(
    run: ModelRun, evidence: Evidence | None = None, chosen: Sequence[Conversation] = CONVERSATIONS
) -> CostEstimate:
    found = estimate_cost(run, [(each, 1) for each in chosen], evidence or Evidence(), {})
    assert found is not None
    return found


def measured(
    run: ModelRun, conversation: Conversation, level: float, *, attempts: int = 1
) -> MeasuredSession:
    """A session that took `level` times what its text lets expect, for each attempt; half of it cached."""
    expected = workload_of(conversation, run)
    retried = {"student", "teacher"}
    took = {
        role: work.times(level * (attempts if role in retried else 1)) for role, work in expected.items()
    }
    cached = {role: round(work.prompt / 2) for role, work in took.items()}
    return MeasuredSession(expected, attempts, took, cached, asked_large_judge=False)


def test_the_roles_are_those_that_the_run_asks() -> None:
    def roles(plan: SessionPlan | None = None, **sections: Any) -> set[str]:
        return set(estimated(run_of(plan, **sections)).by_role)

    assert roles(orchestration={"forced_mode": "paired"}) == {"student", "teacher", "judge", "learner"}
    assert roles(orchestration={"forced_mode": "auto"}) == {"student", "judge", "learner"}
    assert "probe" in roles()
    assert "turn_judge" in roles(agent={"use_llm_judge": True})
    assert "learner" not in roles(learning={"update_enabled": False})
    assert roles(SessionPlan(agent="student")) == {"student"}
    paired, coach = (
        estimated(run_of(orchestration={"forced_mode": mode})).by_role for mode in ("paired", "coach")
    )
    assert coach["student"].calls == paired["student"].calls + 1.5 * len(CONVERSATIONS)


def test_longer_conversations_and_more_of_them_cost_more() -> None:
    run = run_of()
    by_turns = sorted(CONVERSATIONS, key=lambda each: len(each.turns))
    short, long = (estimated(run, chosen=part) for part in (by_turns[:5], by_turns[-5:]))
    assert short.usd is not None and long.usd is not None and long.usd > 1.5 * short.usd
    twice = estimate_cost(run, [(each, 2) for each in by_turns[:5]], Evidence(), {})
    assert twice is not None and twice.usd == pytest.approx(2 * short.usd)
    assert twice.sessions == 2 * short.sessions == 10


def test_earlier_sessions_set_the_level_and_the_cached_share() -> None:
    run = run_of(SessionPlan(agent="student"))
    alone = estimated(run)
    evidence = Evidence(tuple(measured(run, each, 3.0) for each in CONVERSATIONS[:10]), "ten", same=True)
    seen = estimated(run, evidence)
    assert alone.usd is not None and seen.usd is not None
    assert seen.tokens == pytest.approx(3 * alone.tokens, rel=0.01)
    student = seen.by_role["student"]
    assert student.cached_tokens == pytest.approx(student.prompt_tokens / 2, rel=0.01)
    assert (seen.measured_sessions, seen.basis) == (10, "ten")


def test_a_single_session_tells_its_level_but_not_how_often_the_student_is_sent_back() -> None:
    run = run_of(orchestration={"forced_mode": "paired"})
    one = estimated(run, Evidence((measured(run, CONVERSATIONS[0], 1.0),), "one", same=True))
    calls = sum(2 * len(each.turns) for each in CONVERSATIONS)
    assert calls < one.by_role["student"].calls < 1.5 * calls
    often = Evidence(tuple(measured(run, each, 1.0, attempts=2) for each in CONVERSATIONS), "x", same=True)
    assert estimated(run, often).by_role["student"].calls > 1.9 * calls
    assert estimated(run, often).by_role["judge"].calls == 3 * len(CONVERSATIONS)


def test_the_range_narrows_with_what_is_known() -> None:
    run = run_of(SessionPlan(agent="student"))

    def width(sessions: int, *, same: bool = True) -> float:
        evidence = Evidence(tuple(measured(run, each, 1.0) for each in CONVERSATIONS[:sessions]), "", same)
        found = estimated(run, evidence)
        assert found.usd and found.usd_low is not None and found.usd_high is not None
        assert found.usd_low < found.usd < found.usd_high
        return (found.usd_high - found.usd_low) / found.usd

    assert width(0) > width(1) > width(30, same=False) > width(30)


def test_the_range_holds_nineteen_times_of_twenty() -> None:
    dice = random.Random(4)
    run = run_of(SessionPlan(agent="student"))
    inside = 0
    for _ in range(200):
        levels = [dice.lognormvariate(0.0, 0.6) for _ in CONVERSATIONS]
        sessions = [measured(run, each, level) for each, level in zip(CONVERSATIONS, levels, strict=True)]
        found = estimated(run, Evidence(tuple(sessions[:15]), "", same=True), CONVERSATIONS[15:])
        was = sum(
            each.measured["student"].prompt + each.measured["student"].completion for each in sessions[15:]
        )
        inside += found.tokens_low <= was <= found.tokens_high
    assert inside >= 180


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    run = run_of(price={"api_base": "http://gpu:8000/v1"})
    found = estimated(run)
    assert (found.usd, found.usd_high) == (None, None) and found.tokens > 0
    assert found.by_role["student"].usd is None
    assert "openai/agent at http://gpu:8000/v1" in found.unpriced
    estimate = RunEstimate(found, has_budget=False, confirm_above_usd=0.0)
    assert not estimate.needs_consent
    assert estimate.summary.startswith("Cost unknown (no price of openai/agent at http://gpu:8000/v1")
    mixed = estimated(run_of(teacher={"llm": model("teacher", api_base="http://gpu:8000/v1")}))
    assert mixed.usd and "On top comes what openai/teacher at" in RunEstimate(mixed, False, 9e9).summary


def test_models_without_cost_are_no_part_of_it() -> None:
    free = {"usd_per_million_prompt_tokens": 0.0, "usd_per_million_completion_tokens": 0.0}
    run = run_of(price=free)
    assert estimate_cost(run, [(CONVERSATIONS[0], 1)], Evidence(), {}) is None
    partly = estimated(run_of(price=free, teacher={"llm": model("teacher", **PRICE)}))
    assert set(partly.by_role) >= {"teacher"} and "student" not in partly.by_role


def test_listed_prices_hold_for_models_that_litellm_asks() -> None:
    gemini = {"provider": "gemini", "model": "gemini-2.5-flash"}
    listed = estimated(run_of(agent={"llm": gemini}, orchestration={"forced_mode": "paired"}))
    assert listed.unpriced == () and listed.by_role["student"].usd
    arbiter = run_of(
        rim={"large_model": model("arbiter", **{name: 10 * each for name, each in PRICE.items()})}
    )
    usd, less = (estimated(run).by_role["judge"].usd for run in (arbiter, run_of()))
    assert usd is not None and less is not None and usd > 1.5 * less


@pytest.mark.parametrize(
    ("high", "has_budget", "asks"), [(0.99, False, False), (1.01, False, True), (1.01, True, False)]
)
def test_consent_is_needed_above_the_limit_unless_a_budget_is_set(
    high: float, has_budget: bool, asks: bool
) -> None:
    cost = estimated(run_of()).model_copy(update={"usd": 0.5, "usd_low": 0.1, "usd_high": high})
    assert RunEstimate(cost, has_budget, confirm_above_usd=1.0).needs_consent is asks


def test_several_runs_are_added_up() -> None:
    one, unknown = estimated(run_of()), estimated(run_of(price={"api_base": "http://gpu:8000/v1"}))
    found = total_of([one, one, unknown])
    assert found is not None and one.usd is not None and found.usd == pytest.approx(2 * one.usd)
    assert found.tokens == 2 * one.tokens + unknown.tokens and found.unpriced == unknown.unpriced
    assert total_of([]) is None


def test_what_it_came_to_is_told_beside_the_estimate() -> None:
    cost = estimated(run_of()).model_copy(update={"usd": 2.0, "usd_low": 1.0, "usd_high": 4.0})
    assert came_to(cost, 3.0, 1) == "$3.00, estimated $2.00 ($1.00–$4.00): 1.50 × the estimate"
    assert came_to(cost, 5.0, 1).endswith("2.50 × the estimate, outside of the range")
    assert "tokens, estimated" in came_to(cost, None, cost.tokens)
    assert came_to(cost, None, None) == "unknown"


def test_only_what_is_left_of_a_run_is_estimated(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.conversations.mkdir(parents=True)
    write_dataset(project.dataset_file("small"), 6, seed=11)
    settings = config(agent={"llm": model("student", **PRICE)}).model_dump(
        mode="json", by_alias=True, exclude_defaults=True
    )
    (tmp_path / "x.yaml").write_bytes(orjson.dumps(settings))
    plan = SessionPlan(agent="student", config=Path("x.yaml"), epochs=2)
    files = RunFiles(tmp_path / "run")

    def sessions(**options: Any) -> int:
        found = estimate_run(project, "small", plan, **options)
        return found.cost.sessions if found else 0

    assert (sessions(), sessions(limit=2), sessions(files=files)) == (12, 4, 12)
    files.folder.mkdir()
    write_tasks(project.dataset_file("small"), files.tasks, dataset_revision="0", run_id="r", limit=4)
    assert sessions(tasks=files.tasks) == 8
    ids = [orjson.loads(line)["task_id"] for line in files.tasks.read_bytes().splitlines()]
    lines = [(ids[0], 1, "completed"), (ids[0], 2, "not_run"), (ids[1], 2, "completed")]
    files.partial.write_bytes(
        b"".join(
            orjson.dumps({"task_id": task, "epoch": epoch, "conversation_result": {"status": status}})
            + b"\n"
            for task, epoch, status in lines
        )
    )
    assert sessions(files=files) == 6
    replayed = plan.model_copy(update={"replay": files.ledger})
    assert estimate_run(project, "small", replayed) is None
    assert estimate_run(project, "small", SessionPlan(agent="noop")) is None


def test_work_is_added_up_and_multiplied_part_by_part() -> None:
    role: Role = "student"
    assert Workload(2, 10, 4).times(2) + Workload(1, 1, 1) == Workload(5, 21, 9)
    assert workload_of(CONVERSATIONS[0], run_of())[role].calls == 2 * len(CONVERSATIONS[0].turns)
