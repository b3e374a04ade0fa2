from __future__ import annotations

import ast
import inspect
import json
import random
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

from crm_assets.reporting import (
    Metrics,
    Rate,
    RunInfo,
    compute_metrics,
    read_metrics,
    wilson_interval,
    write_metrics,
)

from .conftest import (
    REVISION,
    RUN,
    RUN_ID,
    Measure,
    Record,
    Write,
    failed_turn,
    replied,
    session,
    turn,
    unrun,
)

KINDS = (
    "unexpected_success", "wrong_error", "no_tool_call", "unknown_tool", "tool_mismatch",
    "argument_mismatch", "tool_error", "response_mismatch",
)  # fmt: skip


def plain(rate: Rate) -> tuple[float | None, int, int]:
    return rate.value, rate.successes, rate.count


def mixed() -> list[Record]:
    """Every status, several workflows, failures in several turns."""
    return [
        session("c-1", [turn(1), turn(2)]),
        session("c-2", [turn(1), failed_turn(2, "argument_mismatch")]),
        session("c-3", [failed_turn(1, "no_tool_call", tool_name=None), turn(2), turn(3)]),
        session(
            "c-4",
            [replied(1, "match"), replied(2, "mismatch"), replied(3, "unscored")],
            meta={"workflow_category": "Quotes", "complexity_level": "complex"},
        ),
        unrun("c-5"),
        unrun("c-6", "not_recorded"),
    ]


def test_every_session_is_in_exactly_one_count(measure: Measure) -> None:
    undecided = session("c-7", [turn(1)], result={"overall_success": None})
    metrics = measure(*mixed(), undecided)
    assert metrics.total_conversations == 7
    assert metrics.atlas_successful_runs == 5
    assert metrics.harness_successes == 1
    assert metrics.failed_conversations == 3
    assert metrics.conversations_without_verdict == 1
    assert metrics.failed_runs == 1
    assert metrics.not_recorded_runs == 1
    assert metrics.execution_modes == {"harness": 7}


def test_strict_success_is_over_conversations_with_a_verdict(measure: Measure) -> None:
    rate = measure(*mixed()).strict_success
    expected = wilson_interval(1, 4)
    assert expected is not None
    assert plain(rate) == (0.25, 1, 4)
    assert (rate.low, rate.high) == pytest.approx(expected, abs=1e-6)


def test_infrastructure_failures_are_in_no_rate_and_bound_the_result(measure: Measure) -> None:
    passing = [session(f"c-{n}", [turn(1)]) for n in range(3)]
    metrics = measure(*passing, session("d-0", [failed_turn(1)]), unrun("x-1"), unrun("x-2"))
    assert plain(metrics.strict_success) == (0.75, 3, 4)
    assert metrics.turn_tool_success.count == 4
    assert metrics.state_match.count == 4
    assert metrics.harness_reward_summary.count == 4
    bounds = metrics.strict_success_bounds
    assert bounds is not None
    assert bounds.missing == 2
    assert plain(bounds.worst) == (0.5, 3, 6)
    assert plain(bounds.best) == (pytest.approx(5 / 6, abs=1e-6), 5, 6)


def test_verdicts_left_in_a_failed_session_are_ignored(measure: Measure) -> None:
    """A session that died half-way may hold turns and a 0: neither is the agent's."""
    torn = unrun("x-1")
    torn["conversation_result"] |= {
        "per_turn_results": [failed_turn(1)],
        "overall_success": False,
        "reward_signal": 0.0,
        "state_match": False,
        "chain_success": False,
    }
    torn["atlas_metadata"]["session_reward"] = {"score": 0.0}
    metrics = measure(session("c-1"), torn)
    assert plain(metrics.strict_success) == (1.0, 1, 1)
    assert plain(metrics.turn_success) == (1.0, 1, 1)
    assert plain(metrics.state_match) == (1.0, 1, 1)
    assert metrics.chain_success.count == 0
    assert metrics.harness_reward_summary.mean == 1.0
    assert metrics.reward_summary.count == 0
    (group,) = metrics.by_workflow.values()
    assert plain(group.strict_success) == plain(group.state_match) == (1.0, 1, 1)
    assert plain(group.turn_tool_success) == (1.0, 1, 1)
    assert metrics.failure_kinds == ()
    assert metrics.first_failed_turn == {}


def test_undecided_conversations_bound_the_result_too(measure: Measure) -> None:
    undecided = session("c-2", [failed_turn(1)], result={"overall_success": None})
    metrics = measure(session("c-1"), undecided)
    bounds = metrics.strict_success_bounds
    assert bounds is not None
    assert (bounds.missing, bounds.worst.value, bounds.best.value) == (1, 0.5, 1.0)
    assert metrics.first_failed_turn == {}  # it is no failed conversation


def test_nothing_is_bounded_when_every_conversation_has_its_verdict(measure: Measure) -> None:
    assert measure(session("c-1"), unrun("c-2", "not_recorded")).strict_success_bounds is None


def test_infrastructure_failures_are_counted_by_reason(measure: Measure) -> None:
    metrics = measure(unrun("c-3", message="disk full"), unrun("c-2"), unrun("c-1"), session("c-0"))
    reasons = [(f.message, f.sessions, f.example) for f in metrics.infrastructure_failures]
    assert reasons == [("connection lost", 2, "c-1"), ("disk full", 1, "c-3")]


def test_reasons_that_differ_in_their_numbers_alone_are_one(measure: Measure) -> None:
    too_long = [f"{7_211 + n:,} tokens exceed the context of 4096 after {n / 2} s" for n in range(3)]
    unrunnable = [unrun(f"c-{n}", message=message) for n, message in enumerate(too_long)]
    metrics = measure(*unrunnable, unrun("c-9", message="tokens exceed the context"))
    reasons = [(f.message, f.sessions, f.example) for f in metrics.infrastructure_failures]
    assert reasons == [(too_long[0], 3, "c-0"), ("tokens exceed the context", 1, "c-9")]


def test_without_any_verdict_everything_is_unknown_rather_than_zero(measure: Measure) -> None:
    metrics = measure(unrun("c-1"), unrun("c-2", "not_recorded"))
    rates = [value for _, value in metrics if isinstance(value, Rate)]
    assert len(rates) >= 9
    for rate in rates:
        assert (rate.value, rate.count, rate.low, rate.high) == (None, 0, None, None)
    assert metrics.harness_reward_summary.mean is None
    assert metrics.turns_planned is None


def test_unscored_replies_are_counted_and_never_averaged_in(measure: Measure) -> None:
    turns = [
        replied(1, "match"),
        replied(2, "unscored"),
        replied(3, "unscored", response_success=False),  # whatever a writer leaves there
        replied(4, "not_applicable"),
    ]
    metrics = measure(session("c-1", turns), session("c-2", [replied(1, "mismatch")]))
    assert plain(metrics.turn_response_success) == (0.5, 1, 2)
    assert metrics.replies.model_dump() == {"scored": 2, "unscored": 2, "not_applicable": 1}


def test_conversations_with_at_least_one_success(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [failed_turn(1), replied(2, "match")]),
        session("c-2", [failed_turn(1), failed_turn(2)]),
        session("c-3", [replied(1, "mismatch"), replied(2, "mismatch")]),
        session("c-4", [replied(1, "unscored")]),
    )
    assert plain(metrics.conversations_with_tool_success) == (0.75, 3, 4)
    # c-2 and c-4 have no scored reply: nobody knows.
    assert plain(metrics.conversations_with_response_success) == (0.5, 1, 2)


def test_a_conversation_that_ran_no_turn_had_no_tool_success(measure: Measure) -> None:
    empty = session("c-1", result={"per_turn_results": [], "overall_success": False, "state_match": None})
    metrics = measure(empty, session("c-2"))
    assert plain(metrics.conversations_with_tool_success) == (0.5, 1, 2)
    assert plain(metrics.state_match) == (1.0, 1, 1)


def test_turn_rates_take_turns_of_a_conversation_together(measure: Measure) -> None:
    good = [session(f"g-{n}", [turn(i) for i in range(1, 6)]) for n in range(10)]
    bad = [session(f"b-{n}", [failed_turn(i) for i in range(1, 6)]) for n in range(10)]
    rate = measure(*good, *bad).turn_tool_success
    independent = wilson_interval(50, 100)
    assert independent is not None and rate.low is not None
    assert plain(rate) == (0.5, 50, 100)
    assert rate.conversations == 20
    assert rate.effective_count is not None and rate.effective_count < 20
    assert rate.low < independent.low - 0.05


@pytest.mark.parametrize("turns", [14, 200])  # 14² and 200 are more than a byte holds
def test_long_conversations_do_not_overflow(measure: Measure, turns: int) -> None:
    long = [session(name, turns=[turn(number) for number in range(1, turns + 1)]) for name in "abc"]
    tools = measure(*long).turn_tool_success
    assert (tools.successes, tools.count, tools.effective_count) == (3 * turns, 3 * turns, 3)
    alike = wilson_interval(3, 3)
    assert alike is not None
    assert tools.low == pytest.approx(alike.low, abs=1e-6)


def test_state_match_and_chains_leave_out_what_has_no_verdict(measure: Measure) -> None:
    metrics = measure(
        session("c-1", result={"state_match": True, "chain_success": True}),
        session("c-2", result={"state_match": False, "chain_success": False}),
        session("c-3", result={"state_match": None, "chain_success": None}),
    )
    assert plain(metrics.state_match) == (0.5, 1, 2)
    assert plain(metrics.chain_success) == (0.5, 1, 2)


def test_expected_failures_are_a_rate_of_their_own(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [turn(1), turn(2, expect_success=False, verification="expected_failure")]),
        session("c-2", [failed_turn(1, "unexpected_success", expect_success=False)]),
    )
    assert plain(metrics.expected_failures) == (0.5, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_failure_is_counted(measure: Measure, kind: str) -> None:
    metrics = measure(session("c-1", [turn(1), failed_turn(2, kind)]), session("c-2"))
    (found,) = metrics.failure_kinds
    assert (found.kind, found.turns, found.conversations, found.first_failures) == (kind, 1, 1, 1)
    assert plain(found.share_of_turns) == (pytest.approx(1 / 3, abs=1e-6), 1, 3)


def test_a_failure_without_a_kind_is_not_lost(measure: Measure) -> None:
    metrics = measure(session("c-1", [failed_turn(1, verification=None)]))  # type: ignore[arg-type]
    assert [kind.kind for kind in metrics.failure_kinds] == ["unnamed"]


def test_kinds_are_those_of_failed_turns_only(measure: Measure) -> None:
    turns = [turn(1, verification="expected_failure", expect_success=False), turn(2)]
    assert measure(session("c-1", turns)).failure_kinds == ()


def test_failure_kinds_come_most_frequent_first_and_know_causes(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [failed_turn(1, "unknown_tool"), failed_turn(2, "tool_error")]),
        session("c-2", [failed_turn(1, "tool_error"), failed_turn(2, "tool_error")]),
    )
    kinds = [(k.kind, k.turns, k.conversations, k.first_failures) for k in metrics.failure_kinds]
    assert kinds == [("tool_error", 3, 2, 1), ("unknown_tool", 1, 1, 1)]


def test_examples_prefer_first_failures_of_different_conversations(measure: Measure) -> None:
    def consequence(name: str) -> Record:
        later = [failed_turn(n, "tool_error") for n in (2, 3)]
        return session(name, [failed_turn(1, "no_tool_call"), *later])

    def cause(name: str) -> Record:
        turns = [turn(1), failed_turn(2, "tool_error"), failed_turn(3, "tool_error")]
        return session(name, turns)

    metrics = measure(*map(consequence, ("a-1", "a-2", "a-3")), cause("z-1"))
    examples = next(k for k in metrics.failure_kinds if k.kind == "tool_error").examples
    found = [(e.conversation_id, e.turn_id, e.first_failure) for e in examples]
    assert found == [("z-1", 2, True), ("a-1", 2, False), ("a-2", 2, False)]


def test_an_example_tells_what_happened_in_short(measure: Measure) -> None:
    wrong = failed_turn(
        1,
        "argument_mismatch",
        user_utterance="Move it\nto  Proposal. " + "x" * 5000,
        tool_name="modify_opportunity",
        expected_tool="modify_opportunity",
        argument_mismatch_reason="Missing required field: stage",
    )
    (kind,) = measure(session("c-1", [wrong])).failure_kinds
    (example,) = kind.examples
    assert example.user_utterance.startswith("Move it to Proposal. xxx")
    assert example.user_utterance.endswith("…") and len(example.user_utterance) < 300
    assert (example.expected_tool, example.called_tool) == ("modify_opportunity",) * 2
    assert example.detail == "Missing required field: stage"


def test_breakdowns_by_workflow_and_complexity(measure: Measure) -> None:
    metrics = measure(*mixed())
    quotes, clients = metrics.by_workflow["Quotes"], metrics.by_workflow["Client Management"]
    assert (quotes.conversations, quotes.ran) == (1, 1)
    assert (clients.conversations, clients.ran) == (5, 3)
    assert plain(clients.strict_success)[1:] == (1, 3)
    assert plain(clients.state_match)[1:] == (1, 3)
    assert plain(clients.turn_tool_success)[1:] == (5, 7)
    assert clients.turn_response_success.value is None
    assert plain(quotes.turn_response_success) == (0.5, 1, 2)
    assert list(metrics.by_complexity) == ["simple", "complex"]


def test_a_group_that_never_ran_is_listed_without_rates(measure: Measure) -> None:
    metrics = measure(session("c-1"), unrun("c-2", workflow_category="Contracts"))
    group = metrics.by_workflow["Contracts"]
    assert (group.conversations, group.ran, group.strict_success.value) == (1, 0, None)


def test_breakdown_by_expected_tool(measure: Measure) -> None:
    turns = [
        turn(1, expected_tool="add_note"),
        failed_turn(2, expected_tool="add_note", tool_name="client_search"),
        turn(3),
    ]
    by_tool = measure(session("c-1", turns)).by_tool
    assert list(by_tool) == ["add_note", "client_search"]
    assert by_tool["add_note"].turns == 2
    assert plain(by_tool["add_note"].turn_tool_success) == (0.5, 1, 2)
    assert plain(by_tool["client_search"].turn_success) == (1.0, 1, 1)


def test_breakdown_by_turn_is_in_the_order_of_turns(measure: Measure) -> None:
    long = session("c-1", [turn(n) for n in range(1, 12)])
    metrics = measure(long, session("c-2", [failed_turn(1), turn(2)]))
    assert list(metrics.by_turn) == [str(n) for n in range(1, 12)]
    assert plain(metrics.by_turn["1"].turn_success) == (0.5, 1, 2)
    assert metrics.by_turn["11"].turns == 1


def test_first_failed_turn_is_over_failed_conversations(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [turn(1), failed_turn(2), failed_turn(3)]),
        session("c-2", [turn(1), failed_turn(2)]),
        session("c-3", [failed_turn(1)], result={"failed_at_turn": None}),  # as the turns say
        session("c-4", [turn(1)]),
    )
    assert metrics.first_failed_turn == {"1": 1, "2": 2}
    assert sum(metrics.first_failed_turn.values()) == metrics.failed_conversations


def test_turns_planned_and_executed(measure: Measure) -> None:
    stopped = session("c-1", [failed_turn(1)], result={"metadata": {"total_turns": 4}})
    metrics = measure(stopped, session("c-2", [turn(1), turn(2)]))
    assert (metrics.turns_planned, metrics.turns_executed) == (6, 3)
    unknown = session("c-3", result={"metadata": {}})
    assert measure(stopped, unknown).turns_planned is None


def test_rewards_of_judges_and_of_the_harness_are_kept_apart(measure: Measure) -> None:
    metrics = measure(
        session("c-1", [turn(1)], meta={"session_reward": {"score": 0.4}}),
        session("c-2", [turn(1), failed_turn(2)], meta={"session_reward": {"score": 0.8}}),
        session("c-3", [turn(1)], meta={"session_reward": {"score": None}}),  # judges failed
    )
    rewards = metrics.reward_summary
    assert (rewards.count, rewards.missing) == (2, 1)
    assert (rewards.mean, rewards.stddev) == (0.6, pytest.approx(0.282843))
    assert rewards.low == 0.0 and rewards.high == 1.0  # two values say little: cut at the ends
    harness = metrics.harness_reward_summary
    assert (harness.count, harness.mean) == (3, pytest.approx(2.5 / 3, abs=1e-6))


def test_the_same_sessions_give_the_same_bytes(write: Write, tmp_path: Path) -> None:
    sessions = write(mixed())
    written = []
    for name in ("one.json", "two.json"):
        write_metrics(tmp_path / name, compute_metrics(sessions, run=RUN))
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_order_of_lines_does_not_matter(write: Write, tmp_path: Path) -> None:
    usage = {"student": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
    records = [
        session(
            f"c-{n:03}",
            [turn(1), failed_turn(2, KINDS[n % len(KINDS)])][: 1 + n % 2],
            meta={
                "session_reward": {"score": 1 / (n + 1)},
                "cost_usd": {"student": 0.1 / (n + 3)},
                "token_usage": usage,
                "workflow_category": f"w{n % 5}",
            },
        )
        for n in range(60)
    ] + [unrun("x-1", message="b"), unrun("x-2", message="a")]
    seen = set()
    for seed in range(4):
        random.Random(seed).shuffle(records)
        write_metrics(tmp_path / "metrics.json", compute_metrics(write(records), run=RUN))
        seen.add((tmp_path / "metrics.json").read_bytes())
    assert len(seen) == 1


def test_provenance_comes_from_the_sessions(measure: Measure) -> None:
    metrics = measure(session("c-1"))
    assert metrics.run_id == RUN_ID
    assert metrics.dataset == "dev"
    assert metrics.dataset_revision == REVISION
    assert metrics.agent_config == {"name": "replay"}
    assert metrics.backend == "postgres"
    assert metrics.use_llm_judge is False
    assert metrics.config_path is None
    assert metrics.conversations_path == "data/conversations/dev.jsonl"
    assert metrics.tasks_path == f"artifacts/baselines/dev/{RUN_ID}/atlas/tasks.jsonl"
    assert metrics.software == {"crm-assets": "0.1.0", "postgresql": "18.1"}


def test_versions_of_all_sessions_and_of_the_caller_are_named(measure: Measure) -> None:
    old = session("c-1", meta={"software": {"code": "abc", "postgres": "18.1"}})
    new = session("c-2", meta={"software": {"code": "def", "postgres": "18.1"}})
    run = RunInfo(software={"pandas": "3.0", "postgres": "15"})
    expected = {"code": "abc, def", "postgres": "18.1", "pandas": "3.0"}
    assert measure(old, new, run=run).software == expected
    assert measure(new, old, run=run).software == expected


def test_the_caller_completes_what_sessions_do_not_say(measure: Measure) -> None:
    silent = dict.fromkeys(("run_id", "dataset_revision", "config_path", "agent"))
    run = RunInfo(run_id="mine", config_path="configs/atlas/x.yaml", agent_config={"name": "noop"})
    metrics = measure(session("c-1", meta=silent), run=run)
    assert metrics.run_id == "mine"
    assert metrics.config_path == "configs/atlas/x.yaml"
    assert metrics.agent_config == {"name": "noop"}
    assert metrics.dataset_revision is None


def test_metrics_survive_their_file(measure: Measure, tmp_path: Path) -> None:
    metrics = measure(*mixed())
    path = tmp_path / "atlas" / "metrics.json"
    write_metrics(path, metrics)
    assert read_metrics(path) == metrics
    document = json.loads(path.read_text())
    assert next(iter(document)) == "schema_version"
    assert {"value", "successes", "count", "low", "high"} <= set(document["strict_success"])


def test_every_field_of_metrics_is_explained() -> None:
    names = {"Metrics", *Metrics.model_json_schema()["$defs"]}
    models = [model for model in _descendants(BaseModel) if model.__name__ in names]
    assert len(models) == len(names)
    for model in models:
        assert set(model.__annotations__) <= _explained(model), model.__name__


def _descendants(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Ours that are loaded."""
    below = {each for child in model.__subclasses__() for each in (child, *_descendants(child))}
    return {each for each in below if each.__module__.startswith("crm_assets.")}


def _explained(model: type[BaseModel]) -> set[str]:
    """The fields that a docstring follows."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
