from __future__ import annotations

from typing import Any

import pytest

from crm_assets.atlas.sdk.records import has_reward


def trace(score: Any, rationale: str = "So.") -> dict[str, Any]:
    return {"session_reward": {"score": score, "judges": [{"rationale": rationale}]}}


@pytest.mark.parametrize("score", [0, 0.0, 0.5, 1])
def test_a_score_of_0_to_1_is_a_reward(score: float) -> None:
    assert has_reward(trace(score))


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"session_reward": None},
        trace(None),
        trace("high"),
        trace(7.0),
        trace(-0.1),
        trace(float("nan")),
        trace(0.0, "No valid reward sample produced."),
    ],
)
def test_anything_else_is_none(found: dict[str, Any]) -> None:
    assert not has_reward(found)
