from __future__ import annotations

from typing import Any

import orjson

from crm_assets.reporting.comparison import FactChange, compare_baselines, read_facts

from ..conftest import Write, session, turn
from .conftest import RUN_A, RUN_B, Baseline


def changes(baseline: Baseline, a: list[dict[str, Any]], b: list[dict[str, Any]]) -> tuple[FactChange, ...]:
    """What differs between runs whose sessions have these metadata."""
    runs = [
        baseline(run, (session(f"c-{index}", meta=meta) for index, meta in enumerate(metas)))
        for run, metas in ((RUN_A, a), (RUN_B, b))
    ]
    return compare_baselines(*runs, resamples=100).provenance


def test_every_scalar_that_differs_is_named_by_its_path(baseline: Baseline) -> None:
    one = {"agent": {"name": "crm", "llm": {"model": "m-1", "temperature": 0.0}, "stop": ["a"]}}
    other = {"agent": {"name": "crm", "llm": {"model": "m-2", "temperature": 0.0}, "stop": ["a", "b"]}}
    found = changes(baseline, [one], [other | {"config_path": "configs/x.yaml", "use_llm_judge": True}])
    assert [(each.fact, each.a, each.b) for each in found] == [
        ("agent.llm.model", "m-1", "m-2"),
        ("agent.stop", '["a"]', '["a","b"]'),
        ("use_llm_judge", False, True),
        ("config_path", None, "configs/x.yaml"),
    ]


def test_two_versions_within_a_run_are_both_named(baseline: Baseline) -> None:
    versions = [{"software": {"code": code}} for code in ("b", "a", "b")]
    (found,) = changes(baseline, versions, [{"software": {"code": "b"}}] * 3)
    assert (found.fact, found.a, found.b) == ("software.code", "a, b", "b")


def test_a_session_that_did_not_get_to_say_a_fact_changes_nothing(baseline: Baseline) -> None:
    one = [{"execution_mode": None}, {"execution_mode": "paired"}]
    assert changes(baseline, one, [{"execution_mode": "paired"}] * 2) == ()


def test_what_became_of_the_sessions_is_no_fact_of_the_run(baseline: Baseline) -> None:
    one = {
        "attempts": 1,
        "session_reward": {"score": 0.1},
        "learning_key": "x",
        "cost_usd": {"student": 1.0},
    }
    other = {
        "attempts": 2,
        "session_reward": {"score": 0.9},
        "learning_key": "y",
        "cost_usd": {"student": 2.0},
    }
    assert changes(baseline, [one], [other]) == ()


def test_what_was_learnt_before_a_run_is_what_its_keys_first_sessions_could_use(write: Write) -> None:
    rows = [("a", None), ("a", 2), ("b", 3), ("a", 5), ("b", 4)]
    path = write(
        [
            session(f"c-{index}", meta={"learning_key": key, "entries_available": count})
            for index, (key, count) in enumerate(rows)
        ]
    )
    assert read_facts(path)["playbook_entries_at_start"] == 5


def test_facts_are_those_of_the_session_even_where_its_calls_look_like_some(write: Write) -> None:
    evil = {"atlas_metadata": {"backend": "no"}, "task": {"agent": "no"}}
    record = session("c-1", [turn(arguments=evil, user_utterance='"atlas_metadata":{"task":')])
    path = write([{**record, "task": "x", "steps": [1]}])
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes())) + b"\n")  # without blanks, as written
    assert read_facts(path) == {
        "agent.name": "replay",
        "backend": "postgres",
        "use_llm_judge": False,
        "conversations_path": "data/conversations/dev.jsonl",
        "execution_mode": "harness",
    }
