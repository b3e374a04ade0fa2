"""What judges and teacher are worth, on small logs whose figures can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crm_assets.reporting.judge_models import JudgeFigures

from .conftest import Measure, Record, failed_turn, session, turn, whole_page


def judged(
    conversation: str,
    score: float | None,
    right: bool = True,
    *,
    small: Sequence[float] | None = None,
    escalated: bool = False,
    reason: str | None = None,
    epoch: int = 1,
    result: dict[str, Any] | None = None,
    turns: Sequence[Record] = (),
    **meta: Any,
) -> Record:
    """An Atlas session with a reward; its verdict is `right`."""
    judge = {"escalated": escalated, "escalation_reason": reason, "samples": [{"score": score}]}
    facts = {
        "execution_mode": "paired",
        "learning_key": "k",
        "session_reward": None if score is None else {"score": score, "judges": [judge]},
        "reward_status": "failed" if score is None else "scored",
        "reward_escalated": escalated,
        "small_judge_scores": small,
        "attempts": 1,
        "teacher_valid": True,
        "first_attempt_success": right,
        **meta,
    }
    turns = turns or [turn() if right else failed_turn()]
    return session(conversation, turns, meta=facts, epoch=epoch, result=result)


def figures(measure: Measure, *records: Record) -> JudgeFigures:
    found = measure(*records).judges
    assert found is not None
    return found


SMALL = (
    judged("a", 0.9),
    judged("b", 0.6),
    judged("c", 0.5, turns=[turn(1), turn(2)]),
    judged("d", 0.6, False, turns=[turn(1), failed_turn(2)]),
    judged("e", 0.2, False),
)


def test_a_run_without_a_loop_has_no_figures_of_judges(measure: Measure) -> None:
    metrics = measure(session("a"), session("b"))
    assert metrics.judges is None
    assert "What the judges are worth" not in whole_page(metrics)


def test_rewards_are_held_against_every_verdict(measure: Measure) -> None:
    found = figures(measure, *SMALL)
    strict = found.rewards["strict_success"]
    assert strict.auc.value == 0.75, "of six pairs four are in order and one is a tie"
    assert (strict.right.count, strict.right.mean.mean) == (3, pytest.approx(2 / 3, abs=1e-6))
    assert strict.wrong.quartiles == (0.2, 0.3, 0.4, 0.5, 0.6)
    assert strict.brier.mean == pytest.approx((0.01 + 0.16 + 0.25 + 0.36 + 0.04) / 5)
    assert strict.brier_of_base_rate == pytest.approx(0.24)
    # Bins of 0.2 (wrong), 0.5 (right), 0.6 (one of two), 0.9 (right).
    assert [(each.low, each.right.successes, each.right.count) for each in strict.bins] == [
        (0.2, 0, 1), (0.5, 1, 1), (0.6, 1, 2), (0.9, 1, 1),
    ]  # fmt: skip
    assert strict.calibration_error == pytest.approx((0.2 + 0.5 + 2 * 0.1 + 0.1) / 5)
    # Right turns: 0.9, 0.6, 0.5 twice, and 0.6 of d; wrong: 0.6 and 0.2, so ten pairs.
    by_turn = found.rewards["turn_success"]
    assert (by_turn.right.count, by_turn.wrong.count) == (5, 2)
    assert by_turn.auc.value == pytest.approx((2 + 1.5 + 1 + 1 + 1.5) / 10)


def test_every_verdict_is_held_for_itself(measure: Measure) -> None:
    found = figures(measure, judged("a", 0.9, result={"state_match": False}), judged("b", 0.1))
    assert found.rewards["state_match"].auc.value == 0.0
    assert found.rewards["strict_success"].auc.value is None


def test_an_auc_of_one_class_is_undefined_and_said_so(measure: Measure) -> None:
    metrics = measure(judged("a", 0.9), judged("b", 0.1))
    assert metrics.judges is not None
    auc = metrics.judges.rewards["strict_success"].auc
    assert (auc.value, auc.low, auc.high) == (None, None, None)
    text = " ".join(whole_page(metrics).split())
    assert (
        "Strict success: the AUC is undefined, which is not 0, because nothing with a reward is wrong."
        in text
    )


@pytest.mark.parametrize("feedback", ["verdicts", "oracle", "none"])
def test_a_reader_learns_what_the_judges_were_told(measure: Measure, feedback: str) -> None:
    text = whole_page(measure(judged("a", 0.9, agent={"name": "atlas", "feedback": feedback})))
    assert ("The judges were told the harness's verdicts" in text) is (feedback != "none")
    assert ("verdicts and the expected calls" in text) is (feedback == "oracle")


def test_sessions_without_reward_or_verdict_are_in_no_figure(measure: Measure) -> None:
    undecided = judged("f", 0.3, turns=[turn(1, success=None, tool_success=None, verification="undecided")],
                       result={"overall_success": None})  # fmt: skip
    with_more = figures(measure, *SMALL, judged("g", None, False), undecided)
    assert with_more.rewards["strict_success"] == figures(measure, *SMALL).rewards["strict_success"]
    assert with_more.teacher_last.without_verdict == 1


def test_epochs_make_no_figure_surer(measure: Measure) -> None:
    once = figures(measure, *SMALL).rewards["strict_success"]
    again = [{**record, "epoch": epoch} for epoch in (1, 2, 3) for record in SMALL]
    thrice = figures(measure, *again).rewards["strict_success"]
    assert thrice.right.count == 9
    assert (thrice.auc, thrice.brier, thrice.calibration_error) == (
        once.auc,
        once.brier,
        once.calibration_error,
    )
    assert [(each.right.low, each.right.high) for each in thrice.bins] == [
        (each.right.low, each.right.high) for each in once.bins
    ]


def test_the_teachers_verdicts_are_counted_by_those_of_the_harness(measure: Measure) -> None:
    # 20 and 15 alike, 5 and 10 not: kappa 0.4.
    kinds = ((True, True, 20), (True, False, 5), (False, True, 10), (False, False, 15))
    records = [
        judged(f"{valid}-{right}-{n}", 0.5, right, teacher_valid=valid)
        for valid, right, count in kinds
        for n in range(count)
    ]
    found = figures(measure, *records, judged("auto", 0.5, teacher_valid=None))
    last = found.teacher_last
    assert (last.yes_right, last.yes_wrong, last.no_right, last.no_wrong) == (20, 5, 10, 15)
    assert last.without_verdict == 1
    assert last.kappa.value == pytest.approx(0.4)
    assert last.kappa.low is not None and last.kappa.low < 0.4
    assert (last.agreement.value, last.right_among_yes.value) == (0.7, 0.8)
    assert (last.yes_among_right.value, last.yes_among_wrong.value) == (
        pytest.approx(2 / 3, abs=1e-6),
        0.25,
    )


def test_a_second_attempt_means_that_the_first_was_rejected(measure: Measure) -> None:
    found = figures(
        measure,
        judged("a", 0.9, attempts=2, teacher_valid=True, first_attempt_success=False),
        judged("b", 0.9, attempts=2, teacher_valid=False, first_attempt_success=True, right=False),
        judged("c", 0.9, attempts=1, teacher_valid=True),
    )
    first, last = found.teacher_first, found.teacher_last
    assert (first.yes_right, first.yes_wrong, first.no_right, first.no_wrong) == (1, 0, 1, 1)
    assert (last.yes_right, last.yes_wrong, last.no_right, last.no_wrong) == (2, 0, 0, 1)


def test_overruled_judges_count_in_the_agreement(measure: Measure) -> None:
    found = figures(
        measure,
        judged("a", 0.9, small=(0.9, 0.9, 0.9)),
        judged("b", 0.1, small=(0.0, 0.5, 0.4), escalated=True, reason="They differ."),
        judged("c", 0.1, small=(0.1,)),
    )
    agreement = found.between_judges
    assert (agreement.subjects, agreement.scores, agreement.without) == (2, 6, 1)
    assert agreement.range.mean == 0.25
    # Means 0.9 and 0.3: between 0.54, within 0.14 / 4 = 0.035; (0.54 - 0.035) / (0.54 + 2 × 0.035).
    assert agreement.icc.value == pytest.approx(0.505 / 0.61, abs=1e-6)
    assert found.between_epochs is None


def test_rewards_of_a_conversation_are_compared_over_its_epochs(measure: Measure) -> None:
    found = figures(
        measure, judged("a", 0.9), judged("a", 0.7, epoch=2), judged("b", 0.2), judged("b", 0.2, epoch=2),
        judged("c", 0.5), judged("c", None, epoch=2),
    ).between_epochs  # fmt: skip
    assert found is not None
    assert (found.subjects, found.scores, found.without, found.range.mean) == (2, 4, 1, 0.1)
    assert found.icc.value == pytest.approx((0.36 - 0.01) / (0.36 + 0.01))


def test_what_the_large_judge_changed_is_told(measure: Measure) -> None:
    metrics = measure(
        judged("a", 0.9, small=(0.2, 0.6), escalated=True, reason="They differ."),
        judged("b", 0.1, False, small=(0.2, 0.4), escalated=True, reason="They differ."),
        judged("c", 0.5, small=(0.1, 0.9), reason="They differ. The arbiter's call failed."),
        judged("d", 0.5, escalated=True, reason="They differ."),
        judged("e", 0.5, small=(0.5, 0.5)),
    )
    assert metrics.judges is not None
    found = metrics.judges.escalations
    assert (found.sessions.successes, found.sessions.count) == (4, 5)
    assert (found.decided, found.failed, found.not_recorded) == (3, 1, 1)
    change = found.change
    assert change is not None
    assert (change.sessions, change.other_side) == (2, 1)
    assert change.difference.mean == pytest.approx((0.5 - 0.2) / 2)
    assert change.distance.mean == pytest.approx((0.5 + 0.2) / 2)
    assert change.brier_change.mean == pytest.approx(((0.01 - 0.36) + (0.01 - 0.09)) / 2)
    text = whole_page(metrics)
    assert "What it changed in 1 session is not recorded" in text
    assert "The large judge was asked in 4 of 5 rewarded sessions" in text
    assert "In 2 sessions it changed the small judges' mean by +0.150" in text


def test_older_sessions_that_were_not_escalated_hold_the_small_judges_scores(measure: Measure) -> None:
    record = judged("a", 0.5)
    record["atlas_metadata"]["session_reward"]["judges"][0]["samples"] = [{"score": 0.4}, {"score": 0.6}]
    del record["atlas_metadata"]["small_judge_scores"]
    found = figures(measure, record)
    assert (found.between_judges.subjects, found.between_judges.range.mean) == (1, 0.2)


def test_the_order_of_sessions_changes_nothing(measure: Measure) -> None:
    records = [*SMALL, judged("a", 0.3, False, epoch=2), judged("f", 0.7, small=(0.6, 0.8, 0.7))]
    assert figures(measure, *records) == figures(measure, *reversed(records))
