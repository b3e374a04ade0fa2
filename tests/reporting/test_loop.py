"""What metrics and README say of the loop around the student, and of repeated runs."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from .conftest import Measure, Record, failed_turn, session, turn, unrun, whole_page

AGENT = {
    "name": "crm-student",
    "learning": "on",
    "feedback": "verdicts",
    "models": {"student": "offline/student"},
}


def looped(
    conversation: str, score: float | None = 0.5, *, key: str = "k", right: bool = True, **meta: Any
) -> Record:
    """An Atlas session."""
    facts = {
        "agent": AGENT,
        "execution_mode": "paired",
        "learning_key": key,
        "session_reward": None if score is None else {"score": score},
        "reward_status": "failed" if score is None else "scored",
        "reward_escalated": False,
        "attempts": 1,
        "teacher_intervened": False,
        "teacher_valid": True,
        "first_attempt_success": right,
        "entries_available": 0,
        "entries_learnt": 1,
        "entries_rejected": 0,
        "learning_error": None,
        **meta,
    }
    return session(conversation, [turn() if right else failed_turn()], meta=facts)


def test_a_run_without_a_loop_has_no_figures_of_one(measure: Measure) -> None:
    metrics = measure(session("a"))
    assert (metrics.loop, metrics.learning_curve, metrics.repeats) == (None, (), None)
    assert "How the loop went" not in whole_page(metrics)


def test_what_teacher_judges_and_learner_did_is_counted(measure: Measure) -> None:
    metrics = measure(
        looped("a", entries_available=3),
        looped("b", None, teacher_valid=None, learning_error="no JSON", entries_learnt=None),
        looped("c", teacher_valid=False, teacher_intervened=True, attempts=2, first_attempt_success=False),
        looped("d", key="other", reward_escalated=True, entries_available=2, entries_rejected=4),
        unrun("e", agent=AGENT, learning_key="k"),
    )
    loop = metrics.loop
    assert loop is not None
    assert loop.rewards.model_dump() == {"scored": 3, "failed": 1, "escalated": 1}
    assert loop.teacher.model_dump() == {
        "valid": 2, "invalid": 1, "without_verdict": 1, "intervened": 1, "repeated": 1,
    }  # fmt: skip
    assert (loop.first_attempt_strict_success.successes, loop.first_attempt_strict_success.count) == (3, 4)
    assert (loop.learning_keys, loop.entries_at_start) == (2, 5)
    assert (loop.entries_learnt, loop.entries_rejected, loop.learner_failures) == (3, 4, 1)
    assert metrics.reward_summary.count == 3, "a session whose judges failed has no reward"


def test_a_reward_that_failed_is_no_reward_of_zero(measure: Measure) -> None:
    metrics = measure(looped("a", 1.0), looped("b", None))
    assert metrics.reward_summary.mean == 1.0
    assert "1 without a reward" in whole_page(metrics)


def test_the_learning_curve_goes_by_key_in_the_order_of_its_sessions(measure: Measure) -> None:
    metrics = measure(
        looped("a", 0.2, right=False), looped("b", 0.9, key="z"), looped("c", 0.6), looped("d", None)
    )
    blocks = [(b.key, b.first, b.last, b.reward, b.strict_success) for b in metrics.learning_curve]
    assert blocks == [
        ("k", 1, 1, 0.2, 0.0),
        ("k", 2, 2, 0.6, 1.0),
        ("k", 3, 3, None, 1.0),
        ("z", 1, 1, 0.9, 1.0),
    ]


def test_a_long_key_is_told_in_twenty_blocks(measure: Measure) -> None:
    metrics = measure(*(looped(f"c-{number:03}", number / 100) for number in range(100)))
    blocks = metrics.learning_curve
    assert len(blocks) == 20
    assert [block.first for block in blocks] == list(range(1, 101, 5))
    assert sum(block.rewarded for block in blocks) == 100
    assert blocks[0].reward == pytest.approx(0.02)
    row = next(line for line in whole_page(metrics).splitlines() if "Client Management · simple" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == ["100", "0.495", "0.145", "0.845"]


def epochs(conversation: str, *verdicts: bool | None) -> list[Record]:
    return [
        session(
            conversation,
            [turn() if right else failed_turn()],
            result={"overall_success": right},
            epoch=number,
        )
        for number, right in enumerate(verdicts, start=1)
    ]


def test_pass_hat_k_and_pass_at_k_are_means_over_all_choices_of_k(measure: Measure) -> None:
    trials = {"a": (True, True, False), "b": (False, False, True), "c": (True, True, True)}
    metrics = measure(*(record for name, verdicts in trials.items() for record in epochs(name, *verdicts)))
    assert metrics.repeats is not None
    assert (metrics.repeats.epochs, metrics.repeats.conversations) == (3, 3)
    for k in (1, 2, 3):
        chosen = [list(combinations(verdicts, k)) for verdicts in trials.values()]
        hat = sum(sum(all(c) for c in each) / len(each) for each in chosen) / 3
        at = sum(sum(any(c) for c in each) / len(each) for each in chosen) / 3
        assert metrics.repeats.pass_hat_k[str(k)].mean == pytest.approx(hat, abs=1e-6)
        assert metrics.repeats.pass_at_k[str(k)].mean == pytest.approx(at, abs=1e-6)
    assert metrics.strict_success.count == 9
    assert metrics.strict_success.conversations == 3, "trials of one conversation are not independent"
    assert "(pass^3)" in whole_page(metrics)


def test_a_trial_without_a_verdict_is_in_no_pass_of_more_trials_than_are_left(measure: Measure) -> None:
    metrics = measure(*epochs("a", True, None), *epochs("b", True, True))
    assert metrics.repeats is not None
    assert metrics.repeats.pass_hat_k["1"].count == 2
    assert (metrics.repeats.pass_hat_k["2"].count, metrics.repeats.pass_hat_k["2"].missing) == (1, 1)


def test_dollars_and_calls_of_all_sessions_are_summed_exactly(measure: Measure) -> None:
    spent = [
        {"cost_usd": {"student": 0.000000001 * number, "judge": 0.1}, "token_usage": {"student": {
            "prompt_tokens": 1, "completion_tokens": 1, "calls": 2, "failed_calls": 1, "cached_tokens": 1}}}
        for number in range(1, 4)
    ]  # fmt: skip
    metrics = measure(*(looped(f"c-{n}", **facts) for n, facts in enumerate(spent)))
    assert metrics.total_cost_usd == 0.300000006
    assert metrics.cost_usd["student"].usd == 0.000000006
    used = metrics.token_usage["student"]
    assert (used.calls, used.failed_calls, used.cached_tokens, used.reasoning_tokens) == (6, 3, 3, None)


def test_the_readme_says_how_the_loop_went_and_what_was_shown(measure: Measure) -> None:
    records = [looped("a", 0.25), looped("b", 0.75, teacher_intervened=True)]
    readme = whole_page(measure(*records))
    assert "**Mean reward 0.500**" in readme
    assert "The teacher gave guidance in 1 session." in readme
    assert "Learning was on: 1 learning key started with 0 playbook entries in total, " in readme
    assert "Agent models student" in readme
    oracle = {**AGENT, "feedback": "oracle", "learning": "frozen", "offline": True}
    for record in records:
        record["atlas_metadata"]["agent"] = oracle
    readme = whole_page(measure(*records))
    assert "learned from the answers" in readme
    assert "Learning was frozen" in readme
    assert "scores don't reflect a real LLM" in readme
