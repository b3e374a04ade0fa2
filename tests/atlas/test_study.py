"""The plan of a study: its runs, their order, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.study import StudyPlan
from crm_assets.errors import InputError


def plan(**changes: Any) -> StudyPlan:
    return StudyPlan(
        dataset="dev", run="20260131T093000Z-study", dataset_revision="ab", **{"repeats": 2, **changes}
    )


def test_teaching_comes_first_and_the_arms_by_turns() -> None:
    runs = [(run.arm, run.use, run.repeat) for run in plan(arms=("off", "frozen", "on")).runs()]
    assert runs == [
        ("on", "teach", 1),
        ("off", "held-out", 1),
        ("frozen", "held-out", 1),
        ("on", "held-out", 1),
        ("off", "seen", 1),
        ("on", "seen", 1),
        ("frozen", "held-out", 2),
        ("on", "held-out", 2),
        ("off", "held-out", 2),
        ("on", "seen", 2),
        ("off", "seen", 2),
    ]


def test_only_the_teaching_run_learns_and_each_arm_has_its_own_playbook() -> None:
    runs = list(plan().runs())
    assert [run.plan.learning for run in runs].count("on") == 1
    for run in runs:
        assert run.plan.namespace == f"study-20260131t093000z-study-{run.arm}"
        assert run.subset.part == ("held-out" if run.use == "held-out" else "teach")
    assert len({run.key for run in runs}) == len(runs)
    assert {run.plan.learning for run in runs if run.arm == "off"} == {"off"}


def test_the_frozen_arm_is_the_control_where_none_is_off() -> None:
    assert plan(arms=("frozen", "on")).control == "frozen"


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": ("off", "frozen")},
        {"arms": ("on",)},
        {"arms": ("on", "on")},
        {"sessions": SessionPlan(learning="off")},
        {"sessions": SessionPlan(epochs=2)},
        {"sessions": SessionPlan(agent="student")},
    ],
)
def test_what_is_no_study_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"A study (compares|runs)"):
        plan(**changes)
