"""What is measured, each returning what it prints."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from crm_assets.conversations import Conversation, load_conversations
from crm_assets.crm import SandboxPool
from crm_assets.database import connect_databases
from crm_assets.engine import Limits, Progress, run_harness
from crm_assets.engine.affinity import pin_beside, pinned_to_core
from crm_assets.harness import (
    Action,
    AgentSession,
    AgentSpec,
    ConversationRunner,
    GroundTruthStore,
    Outcome,
    ScriptedAgent,
    make_agent,
)
from crm_assets.workspace.project import Project

REPLAY = AgentSpec("replay")


def throughput(project: Project, dataset: Path, count: int, workers: int, folder: Path) -> float:
    """Conversations a second of a whole harness run: read, validate, run, verify, write."""
    started = time.perf_counter()
    summary = run_harness(
        dataset,
        folder / f"replay-{workers}.jsonl",
        databases=connect_databases(project),
        agent=REPLAY,
        limits=Limits(workers=workers),
        overwrite=True,
    )
    assert summary.succeeded == count, summary
    return count / (time.perf_counter() - started)


def drift(project: Project, dataset: Path, count: int, window: int, folder: Path) -> tuple[float, float]:
    """Rates of the first and the last `window` of `count` conversations, in one process."""
    marks: list[tuple[int, float]] = []

    def note(progress: Progress) -> None:
        marks.append((progress.done, time.perf_counter()))

    run_harness(
        dataset,
        folder / "drift.jsonl",
        databases=connect_databases(project),
        agent=REPLAY,
        overwrite=True,
        progress=note,
    )
    marks = [mark for mark in marks if mark[0]]  # the clock starts with the first results

    def rate(low: int, high: int) -> float:
        inside = [mark for mark in marks if low <= mark[0] <= high]
        (first, began), (last, ended) = inside[0], inside[-1]
        return (last - first) / (ended - began)

    return rate(0, window), rate(count - window, count)


class _Thinker(ScriptedAgent):
    """Replays the ground truth, thinking for a while before each call."""

    def __init__(self, seconds: float) -> None:
        self._replay = make_agent(REPLAY)
        self._seconds = seconds

    def script(self, conversation: Conversation) -> AgentSession:
        assert isinstance(self._replay, ScriptedAgent)
        return _Thinking(self._replay.script(conversation), self._seconds)

    def describe(self) -> Mapping[str, Any]:
        return {"name": "thinker"}


class _Thinking(AgentSession):
    def __init__(self, inner: AgentSession, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def act(self, utterance: str) -> Action:
        await asyncio.sleep(self._seconds)
        return await self._inner.act(utterance)

    async def proceed(self, outcomes: Sequence[Outcome], *, may_call: bool) -> Action:
        return await self._inner.proceed(outcomes, may_call=may_call)


def side_by_side(
    project: Project, dataset: Path, count: int, sessions: int, think: float
) -> tuple[float, float, int]:
    """Rate with `sessions` at a time and `think` seconds a turn; the ideal rate; lock waits seen."""
    databases = connect_databases(project)
    conversations = list(islice(load_conversations(dataset), count))
    truths = SandboxPool(databases.sandbox)
    store = GroundTruthStore(databases.sandbox, truths)
    known = store.get_many(conversations)
    queue = list(zip(conversations, known, strict=True))[::-1]
    waits = 0

    async def run() -> float:
        nonlocal waits
        with (
            pinned_to_core(0),
            SandboxPool(databases.sandbox, size=sessions, on_open=pin_beside) as pool,
        ):
            opened = [pool.acquire() for _ in range(sessions)]  # the clock is for sessions only
            for sandbox in opened:
                pool.release(sandbox)
            runner, agent = ConversationRunner(pool), _Thinker(think)

            async def work() -> None:
                while queue:
                    result = await runner.run(*queue.pop(), agent=agent)
                    assert result.overall_success, result.conversation_id

            async def watch() -> None:
                nonlocal waits
                async with await psycopg.AsyncConnection.connect(
                    databases.sandbox, autocommit=True
                ) as connection:
                    while True:
                        await asyncio.sleep(0.05)
                        row = await (
                            await connection.execute(
                                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                            )
                        ).fetchone()
                        waits += row[0] if row else 0

            watcher = asyncio.create_task(watch())
            started = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(sessions)))
            seconds = time.perf_counter() - started
            watcher.cancel()
            return seconds

    seconds = asyncio.run(run())
    store.close()
    truths.close()
    turns = sum(len(conversation.turns) for conversation in conversations)
    ideal = count / (turns * think / sessions)
    return count / seconds, ideal, waits


_AUDIT = """
import resource, sys, time
from pathlib import Path
from crm_assets.conversations import audit
from crm_assets.crm import created_ids, seed_fields
started = time.perf_counter()
report = audit(Path(sys.argv[1]), seed_fields=seed_fields(), created_ids=created_ids)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def audit_cost(dataset: Path) -> tuple[float, float]:
    """Seconds and peak MB of loading and auditing `dataset` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _AUDIT, str(dataset)], check=True, capture_output=True, text=True
    )
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


_PARTS = {
    "waiting for Postgres": ("_send_query_prepared", "control", "wait", "exec_"),
}


def where_time_goes(project: Project, dataset: Path, folder: Path) -> list[tuple[str, float]]:
    """Share of the time of a one-process replay by package (profiled, so shares rather than seconds)."""
    profile = cProfile.Profile()
    profile.enable()
    run_harness(
        dataset,
        folder / "profile.jsonl",
        databases=connect_databases(project),
        agent=REPLAY,
        overwrite=True,
    )
    profile.disable()
    shares: dict[str, float] = {}
    stats: Any = pstats.Stats(profile)
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():
        part = _part(file, name)
        shares[part] = shares.get(part, 0.0) + own
    total = sum(shares.values())
    return sorted(((part, own / total) for part, own in shares.items()), key=lambda pair: -pair[1])


def _part(file: str, name: str) -> str:
    for part, names in _PARTS.items():
        if name in names and ("psycopg" in file or "sandbox" in file):
            return part
    if "psycopg" in file or "psycopg" in name:
        return "psycopg"
    for package in ("conversations", "crm", "harness"):
        if f"crm_assets/{package}/" in file:
            return f"crm_assets.{package}"
    if "orjson" in name or "pydantic" in name:
        return "JSON and Pydantic"
    return "all else (Python, asyncio, imports)"
