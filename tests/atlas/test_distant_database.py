"""A sandbox database that is not near: statements wait in threads, and sessions are stopped meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from crm_assets.crm import Sandbox, SandboxPool
from crm_assets.database import Databases
from crm_assets.harness import ConversationRunner, GroundTruth
from crm_assets.records import ConversationResult
from tests.atlas.configs import config
from tests.atlas.play import Stage
from tests.harness.build import Caller, answered, call, conversation, turn
from tests.waiting import HANG_SECONDS, eventually

TALK = conversation(
    answered(turn("client_search", {"name": "Acme"}, user_utterance="Find Acme."), "Found."),
    conversation_id="distant",
)


class Overlap:
    """Notices if two threads use one sandbox at once."""

    def __init__(self) -> None:
        self.users: dict[int, int] = {}
        self.seen = 0

    def watch(self, sandbox: Sandbox) -> None:
        query, control = sandbox.query, sandbox.control

        def watched(work, *arguments):
            mine = self.users[sandbox.slot] = self.users.get(sandbox.slot, 0) + 1
            self.seen = max(self.seen, mine)
            try:
                return work(*arguments)
            finally:
                self.users[sandbox.slot] -= 1

        sandbox.query = lambda *arguments: watched(query, *arguments)  # type: ignore[method-assign]
        sandbox.control = lambda *arguments: watched(control, *arguments)  # type: ignore[method-assign]


@pytest.fixture
def overlap() -> Overlap:
    return Overlap()


@pytest.fixture
def pool(databases: Databases, overlap: Overlap) -> Iterator[SandboxPool]:
    """One sandbox, so that the next session gets the one of the session before."""
    with SandboxPool(databases.sandbox, size=1, on_open=overlap.watch) as made:
        yield made
        assert made.discarded == 0
        assert overlap.seen == 1, "two threads used one connection"


@contextmanager
def busy(databases: Databases, pool: SandboxPool) -> Iterator[threading.Event]:
    """Statements on clients wait until the event is set."""
    with pool.lease() as sandbox:
        schema = sandbox.schema
    free = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with psycopg.connect(databases.sandbox) as connection:
            connection.execute(f"LOCK TABLE {schema}.clients IN ACCESS EXCLUSIVE MODE")
            held.set()
            free.wait(HANG_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(HANG_SECONDS)
    try:
        yield free
    finally:
        free.set()
        thread.join()


def truth_of(stage: Stage) -> GroundTruth:
    [truth] = stage.truths.get_many([TALK])
    assert isinstance(truth, GroundTruth)
    return truth


async def play_on(pool: SandboxPool, truth: GroundTruth) -> ConversationResult:
    agent = Caller((call("client_search", name="Acme"), "Found."))
    return await ConversationRunner(pool, database_is_local=False).run(TALK, truth, agent=agent)


async def wait_for_statement(overlap: Overlap) -> None:
    while not any(overlap.users.values()):
        await asyncio.sleep(0.002)


def test_a_session_that_is_stopped_keeps_its_sandbox_until_its_statement_is_through(
    stage: Stage, databases: Databases, pool: SandboxPool, overlap: Overlap
):
    truth = truth_of(stage)

    async def main(free: threading.Event) -> ConversationResult:
        first = asyncio.ensure_future(play_on(pool, truth))
        await wait_for_statement(overlap)
        await asyncio.sleep(0.05)
        first.cancel()
        second = asyncio.ensure_future(play_on(pool, truth))
        await asyncio.sleep(0.1)
        assert not first.done(), "it left while its statement still ran"
        assert not second.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    with busy(databases, pool) as free:
        result = asyncio.run(main(free))
    assert (result.status, result.overall_success, result.state_match) == ("completed", True, True)


def test_a_session_that_is_stopped_while_it_waits_for_a_sandbox_leaves_none_behind(
    stage: Stage, pool: SandboxPool
):
    truth = truth_of(stage)

    async def main() -> ConversationResult:
        lease = pool.acquire()
        waiting = asyncio.ensure_future(play_on(pool, truth))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.sleep(0.05)
        assert not waiting.done()
        pool.release(lease)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await asyncio.wait_for(play_on(pool, truth), HANG_SECONDS)

    assert asyncio.run(main()).overall_success is True


def test_a_step_timeout_waits_for_the_statement_too(
    stage: Stage, databases: Databases, pool: SandboxPool, overlap: Overlap
):
    distant = Stage(pool, stage.truths)
    setting = config(orchestration={"forced_mode": "auto", "step_timeout_seconds": 0.1})
    truth = truth_of(stage)

    def set_free_too_late() -> None:
        assert eventually(lambda: any(overlap.users.values()))
        time.sleep(0.4)
        free.set()

    with busy(databases, pool) as free:
        threading.Thread(target=set_free_too_late).start()
        late = distant.play(TALK, setting, truth=truth, is_local=False)
    assert late.finished.status == "infrastructure_error"
    assert "longer than 0.1 s" in late.record["conversation_result"]["error_message"]
    calm = config(orchestration={"forced_mode": "auto"})
    assert distant.play(TALK, calm, truth=truth, is_local=False).finished.status == "completed"


def test_sessions_over_a_distant_database_come_to_the_same(stage: Stage, pool: SandboxPool):
    setting = config(orchestration={"forced_mode": "paired"})
    near = stage.play(TALK, setting)
    distant = Stage(pool, stage.truths).play(TALK, setting, is_local=False)
    assert (
        distant.record["conversation_result"]["per_turn_results"]
        == (near.record["conversation_result"]["per_turn_results"])
    )
