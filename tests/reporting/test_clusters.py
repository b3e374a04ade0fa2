"""A conversation counts once: neither its epochs nor copies under other IDs say anything new."""

from __future__ import annotations

import pytest

from crm_assets.reporting import Metrics
from crm_assets.reporting.figures import Rate
from crm_assets.reporting.intervals import Tally, estimate_rate

from .conftest import Measure, Record, failed_turn, replied, session, turn, unrun, whole_page

SCORES = {"a": 0.95, "b": 0.15, "c": 0.15, "d": 0.15, "e": 0.15}
SPENT = {"token_usage": {"student": {"total_tokens": 100}}, "cost_usd": {"student": 0.5}}


def one(name: str, epoch: int = 1, content: str | None = None) -> Record:
    """A session of the conversation `content`, or `name`; what it comes to depends on that alone."""
    score = SCORES[content or name]
    return session(
        name,
        [turn(1), replied(2, "match" if score > 0.5 else "mismatch")],
        result={"work_hash": content and content * 64, "metadata": {"duration_seconds": 10 * score}},
        meta={
            "session_reward": {"score": score},
            "token_usage": {"student": {"total_tokens": round(1000 * score)}},
            "cost_usd": {"student": score},
            "learning_key": "k",
            "reward_status": "scored",
            "first_attempt_success": score > 0.5,
        },
        epoch=epoch,
    )


def figures(metrics: Metrics) -> dict[str, tuple[object, ...]]:
    """Every value with its interval and how many independent observations it is worth."""
    found: dict[str, tuple[object, ...]] = {}
    for name, value in metrics:
        if isinstance(value, Rate):
            found[name] = (value.value, value.low, value.high, value.conversations)
        elif name.endswith(("summary", "per_conversation", "seconds")) and value is not None:
            found[name] = (value.mean, value.stddev, value.low, value.high, value.count)
    loop = metrics.loop
    assert loop is not None
    first = loop.first_attempt_strict_success
    group = metrics.by_workflow["Client Management"]
    assert {"reward_summary", "tokens_per_conversation", "duration_seconds", "state_match"} <= set(found)
    return found | {
        "first attempts": (first.value, first.low, first.high, first.conversations),
        "group": (group.conversations, group.ran, group.strict_success.low),
        "total": (metrics.total_conversations,),
        "kinds": tuple((each.kind, each.conversations) for each in metrics.failure_kinds),
        "by turn": tuple(each.turn_success.low for each in metrics.by_turn.values()),
    }


def test_more_epochs_of_the_same_leave_every_figure_as_it_was(measure: Measure) -> None:
    once = measure(*(one(name) for name in SCORES))
    often = measure(*(one(name, epoch) for epoch in range(1, 5) for name in SCORES))
    assert figures(often) == figures(once)
    assert (often.total_conversations, often.total_sessions, often.copied_conversations) == (5, 20, 0)
    assert (often.reward_summary.low, often.reward_summary.high) == (0.0, pytest.approx(0.754, abs=5e-4))


def test_copies_under_other_ids_leave_every_figure_as_it_was(measure: Measure) -> None:
    once = measure(*(one(name, content=name) for name in SCORES))
    # One is there ten times, so that a mean over sessions would be another.
    copies = [one(f"{name}-{n}", content=name) for name in SCORES for n in range(10 if name == "a" else 2)]
    often = measure(*copies)
    assert figures(often) == figures(once)
    assert (often.total_conversations, often.total_sessions, often.copied_conversations) == (5, 18, 13)
    assert "18 conversations (13 of them a copy of another under a different ID" in whole_page(often)


def test_copies_are_not_known_where_sessions_do_not_say_their_content(measure: Measure) -> None:
    assert measure(*(one(f"{n}", content=None) for n in "abc")).total_conversations == 3


def test_bounds_take_the_sessions_of_a_conversation_together(measure: Measure) -> None:
    passing = [session(name, [turn(1)], epoch=epoch) for name in "abc" for epoch in range(1, 5)]
    lost = [unrun(name) | {"epoch": epoch} for name in "de" for epoch in range(1, 5)]
    bounds = measure(*passing, *lost).strict_success_bounds
    assert bounds is not None
    assert (bounds.missing, bounds.best.successes, bounds.best.count) == (8, 20, 20)
    assert (bounds.best.conversations, bounds.best.effective_count) == (5, 5)
    assert (bounds.worst.successes, bounds.worst.conversations) == (12, 5)


def test_at_least_one_success_is_of_conversations(measure: Measure) -> None:
    """In one epoch of three, each but the last does something right."""
    records = [
        session(f"c-{n}", [turn(1) if epoch == 2 and n < 7 else failed_turn(1)], epoch=epoch)
        for epoch in (1, 2, 3)
        for n in range(8)
    ]
    rate = measure(*records).conversations_with_tool_success
    assert (rate.successes, rate.count) == (7, 8)


def test_a_conversation_with_fewer_sessions_counts_as_much(measure: Measure) -> None:
    """a: right in each of 4 sessions; b: wrong in the one that finished."""
    metrics = measure(
        *(session("a", [turn(1), turn(2)], epoch=epoch) for epoch in range(1, 5)),
        session("b", [failed_turn(1), failed_turn(2)]),
        *(unrun("b") | {"epoch": epoch} for epoch in range(2, 5)),
    )
    assert (metrics.strict_success.value, metrics.strict_success.count) == (0.5, 5)
    assert (metrics.turn_success.value, metrics.turn_success.count) == (0.5, 10)
    assert metrics.harness_reward_summary.mean == 0.5


def test_a_failure_kind_counts_conversations_and_not_their_epochs(measure: Measure) -> None:
    metrics = measure(*(session("a", [failed_turn(1)], epoch=epoch) for epoch in (1, 2, 3)), session("b"))
    (kind,) = metrics.failure_kinds
    assert (kind.turns, kind.conversations, kind.first_failures) == (3, 1, 1)
    assert kind.share_of_turns.value == 0.5


def test_tokens_and_costs_by_role_name_sessions_and_conversations_apart(measure: Measure) -> None:
    metrics = measure(*(session("a", meta=SPENT, epoch=epoch) for epoch in (1, 2, 3)))
    tokens, cost = metrics.token_usage["student"], metrics.cost_usd["student"]
    assert (tokens.total_tokens, tokens.sessions, tokens.conversations) == (300, 3, 1)
    assert (cost.usd, cost.sessions, cost.conversations) == (1.5, 3, 1)
    assert (metrics.tokens_per_conversation.mean, metrics.tokens_per_conversation.count) == (100.0, 1)


def test_pass_hat_k_takes_copies_together(measure: Measure) -> None:
    records = [
        session(name, [turn()], result={"work_hash": "f" * 64}, epoch=epoch)
        for name in ("a", "b")
        for epoch in (1, 2)
    ]
    repeats = measure(*records, session("c")).repeats
    assert repeats is not None
    assert (repeats.epochs, repeats.conversations, repeats.pass_hat_k["2"].count) == (2, 2, 1)


def test_the_readme_names_sessions_and_conversations_apart(measure: Measure) -> None:
    metrics = measure(*(one(name, epoch) for epoch in (1, 2, 3) for name in SCORES))
    text = whole_page(metrics, revision={"conversations": 60})
    assert "5 of its 60 conversations, each run 3 times" in text
    assert "(3 of 15 sessions of 5 conversations; " in text
    assert "over 5 conversations (15 sessions)." in text
    assert "Per session" in text and "Per conversation" not in text
    assert "all 15 sessions finished" in text


def test_sessions_of_one_conversation_are_averaged_before_anything_else() -> None:
    even = Tally.of_counts({(4, 4, 4): 1, (0, 3, 3): 1})
    assert estimate_rate(even) == estimate_rate(Tally.of([(1, 1), (0, 1)]))
    mixed = estimate_rate(Tally.of_counts({(4, 4, 4): 2, (1, 4, 4): 2}))
    assert mixed.effective_count is not None and mixed.effective_count < 4  # few conversations: Student's t
    # Three successes in two sessions of two verdicts each, beside one session of one failure.
    uneven = estimate_rate(Tally.of_counts({(3, 4, 2): 1, (0, 1, 1): 1}))
    assert uneven.value == pytest.approx(1.5 / 3)
