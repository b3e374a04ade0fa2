"""One process's worker: how it loads its tasks, and when it hands records over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crm_assets.conversations import Conversation
from crm_assets.database import Databases
from crm_assets.engine import ScriptedRunners, worker
from crm_assets.engine.checkpoint import SessionLine
from crm_assets.engine.work import Work
from crm_assets.harness import AgentSpec, GroundTruthStore
from crm_assets.records import ConversationResult
from tests.engine.test_run import Talk, work_of
from tests.harness.build import many, write_dataset


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The IDs of the conversations whose ground truths are asked for together."""
    asked: list[list[str]] = []
    get_many = GroundTruthStore.get_many

    def noting(store: GroundTruthStore, conversations: Sequence[Conversation]) -> Any:
        asked.append([one.conversation_id for one in conversations])
        return get_many(store, conversations)

    monkeypatch.setattr(GroundTruthStore, "get_many", noting)
    return asked


def run(work: Work[Talk], databases: Databases, *, concurrency: int = 1) -> list[list[SessionLine]]:
    """Run a job; returns what it delivered."""
    delivered: list[list[SessionLine]] = []
    job = worker.Job(work, databases, concurrency)
    assert asyncio.run(worker.run_job(job, delivered.append)) == 0
    return delivered


def keys(delivered: list[list[SessionLine]]) -> list[str]:
    return [entry.key for entries in delivered for entry in entries]


@pytest.mark.parametrize("concurrency", [1, 5])
def test_ground_truths_are_fetched_ahead_each_once(
    databases: Databases, tmp_path: Path, fetched: list[list[str]], concurrency: int
):
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(150, turns=1)))
    done = keys(run(work, databases, concurrency=concurrency))
    assert sorted(done) == sorted(item.key for item in work.items)
    assert [len(chunk) for chunk in fetched] == [64, 64, 22]
    assert sorted(name for chunk in fetched for name in chunk) == sorted(done)


def test_of_sessions_that_wait_for_each_other_the_next_of_each_key_is_fetched(
    databases: Databases, tmp_path: Path, fetched: list[list[str]]
):
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(9, turns=1)), in_order=True)
    run(work, databases, concurrency=2)
    assert fetched[0] == [item.key for item in work.items[:3]]
    assert sorted(name for chunk in fetched for name in chunk) == sorted(item.key for item in work.items)


def test_on_a_distant_database_no_session_waits_for_many_ground_truths(
    databases: Databases, tmp_path: Path, fetched: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Databases, "sandbox_is_local", False)
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(10, turns=1)))
    run(work, databases, concurrency=3)
    assert max(map(len, fetched)) <= 3
    assert sorted(name for chunk in fetched for name in chunk) == sorted(item.key for item in work.items)


def test_where_models_are_asked_ground_truths_hold_up_no_answer(
    databases: Databases, tmp_path: Path, fetched: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    threads = set()
    get_many = GroundTruthStore.get_many

    def noting(store: GroundTruthStore, conversations: Sequence[Conversation]) -> Any:
        threads.add(threading.current_thread())
        return get_many(store, conversations)

    monkeypatch.setattr(GroundTruthStore, "get_many", noting)
    monkeypatch.setattr(ScriptedRunners, "asks_models", True)
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(40, turns=1)))
    run(work, databases, concurrency=30)
    assert threading.main_thread() not in threads
    assert max(map(len, fetched)) <= 16


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_records_are_handed_over_in_time_and_at_the_end(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
):
    monkeypatch.setattr(worker, "_DELIVER_SECONDS", seconds)
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(6, turns=1)))
    sizes = [len(entries) for entries in run(work, databases)]
    assert sizes == ([1] * 6 if seconds == 0 else [6])


def test_what_is_done_is_handed_over_once_when_a_session_fails(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker, "_DELIVER_SECONDS", 3600.0)
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(6, turns=1)))
    made: list[object] = []

    def failing(task: Talk, result: ConversationResult) -> ConversationResult:
        made.append(1 / (3 - len(made)))
        return result

    runners = ScriptedRunners(AgentSpec("replay"), failing, database_is_local=True)
    delivered: list[list[SessionLine]] = []
    with pytest.raises(ZeroDivisionError):
        job = worker.Job(replace(work, runners=runners), databases, 1)
        asyncio.run(worker.run_job(job, delivered.append))
    assert keys(delivered) == [item.key for item in work.items[:3]]


def test_a_delivery_that_fails_is_not_repeated(databases: Databases, tmp_path: Path):
    work = work_of(write_dataset(tmp_path / "d.jsonl", many(6, turns=1)))
    tried: list[list[SessionLine]] = []

    def refuse(entries: list[SessionLine]) -> None:
        tried.append(entries)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        asyncio.run(worker.run_job(worker.Job(work, databases, 1), refuse))
    assert len(tried) == 1
