from __future__ import annotations

from typing import Any

import pytest

from crm_assets.atlas.playbook.scores import score_entry

from .build import entry, learning


@pytest.mark.parametrize(("kind", "score"), [("regex", 1.0), ("predicate", 0.6), ("keyword", 0.4)])
def test_hookability_is_that_of_the_type_of_cue(kind: Any, score: float):
    rubric = score_entry(entry(kind=kind), learning(), actionable=True, hookable=True, general=True)
    assert rubric.hookability == score
    assert rubric.weighted == pytest.approx(0.4 + 0.3 + 0.2 * score + 0.1)


@pytest.mark.parametrize(
    ("length", "score"), [(100, 1.0), (420, 1.0), (630, 0.5), (840, 0.0), (5_000, 0.0)]
)
def test_concision_falls_with_what_is_beyond_the_limit(length: int, score: float):
    long = entry(pattern="clone", imperative="x" * (length - len("clone")))
    rubric = score_entry(long, learning(), actionable=True, hookable=True, general=True)
    assert rubric.concision == score


def test_every_failed_gate_is_a_nought():
    rubric = score_entry(entry(kind="regex"), learning(), actionable=False, hookable=False, general=False)
    assert (rubric.actionability, rubric.hookability, rubric.generality) == (0, 0, 0)
    assert rubric.weighted == pytest.approx(0.1)


def test_weights_are_shares_of_their_sum():
    weights = {"actionability": 0.0, "generality": 0.0, "hookability": 0.5, "concision": 0.5}
    rubric = score_entry(
        entry(), learning(rubric_weights=weights), actionable=True, hookable=True, general=True
    )
    assert rubric.weighted == pytest.approx((0.4 + 1.0) / 2)
    none = dict.fromkeys(weights, 0.0)
    rubric = score_entry(
        entry(), learning(rubric_weights=none), actionable=True, hookable=True, general=True
    )
    assert rubric.weighted == 0
