from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from crm_assets.concurrency import Turnstile, in_thread, off_the_clock, run_interruptible, time_limit
from tests.waiting import HANG_SECONDS


class Work:
    """Blocking work that tells when it runs, and ends when it is let go."""

    def __init__(self, result: object = "done", *, fails: bool = False) -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.ended = False
        self._result = result
        self._fails = fails

    def __call__(self) -> object:
        self.started.set()
        assert self.go.wait(HANG_SECONDS)
        time.sleep(0.01)
        self.ended = True
        if self._fails:
            raise ValueError("it failed")
        return self._result


async def running(work: Work) -> None:
    while not work.started.is_set():
        await asyncio.sleep(0.001)


def test_work_in_a_thread_gives_its_result_or_its_error():
    async def main() -> None:
        assert await in_thread(lambda: threading.current_thread() is threading.main_thread()) is False
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)

    asyncio.run(main())


async def cancel_task(work: Work, undone: list[object]) -> None:
    task = asyncio.ensure_future(in_thread(work, undo=undone.append))
    await running(work)
    try:
        for _ in range(3):  # an interrupted event loop cancels all that is left once more when it ends
            for left in asyncio.all_tasks() - {asyncio.current_task()}:
                left.cancel()
            await asyncio.sleep(0.005)
        assert not task.done()
    finally:
        work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def run_out_of_time(work: Work, undone: list[object]) -> None:
    async def let_go() -> None:
        await asyncio.sleep(0.03)
        work.go.set()

    helper = asyncio.ensure_future(let_go())
    with anyio.move_on_after(0.01) as scope:
        await in_thread(work, undo=undone.append)
        assert work.ended, "the thread was left alone"
        await asyncio.sleep(1)
    assert scope.cancelled_caught
    await helper


@pytest.mark.parametrize("stop", [cancel_task, run_out_of_time])
def test_whoever_is_stopped_waits_for_the_thread(
    stop: Callable[[Work, list[object]], Awaitable[None]],
):
    work = Work()
    asyncio.run(_awaiting(stop(work, [])))
    assert work.ended


async def _awaiting(work: Awaitable[None]) -> None:
    await work


def test_a_result_that_nobody_waits_for_any_more_is_undone():
    undone: list[object] = []
    asyncio.run(cancel_task(Work("a lease"), undone))
    assert undone == ["a lease"]


def test_an_error_that_nobody_waits_for_any_more_is_dropped(recwarn: pytest.WarningsRecorder):
    undone: list[object] = []
    asyncio.run(cancel_task(Work(fails=True), undone))
    assert undone == []
    assert not recwarn.list


def test_work_that_fails_while_it_is_stopped_is_still_an_interrupt() -> None:
    stopped = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            assert stopped
            raise ZeroDivisionError from None

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_interruptible(work(), lambda: stopped.append(1))
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_of_the_main_thread_nothing_is_handled() -> None:
    async def work() -> int:
        return 7

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: run_interruptible(work(), list)).result() == 7


def test_tasks_pass_a_turnstile_one_at_a_time_each_until_it_waits():
    async def main() -> list[str]:
        turnstile, seen = Turnstile(), list[str]()
        come = asyncio.get_running_loop().create_future()

        async def send(name: str) -> None:
            seen.append(f"{name} sends")

        async def session(name: str) -> None:
            await asyncio.shield(come)
            await turnstile.pass_through()
            seen.append(f"{name} works")
            await asyncio.ensure_future(send(name))  # as a request goes out: in a task of its own

        sessions = [asyncio.ensure_future(session(name)) for name in "abc"]
        await asyncio.sleep(0)
        come.set_result(None)
        await asyncio.gather(*sessions)
        return seen

    assert asyncio.run(main()) == [f"{name} {does}" for name in "abc" for does in ("works", "sends")]


@pytest.mark.parametrize("iterations", range(6))
def test_a_task_that_is_cancelled_at_a_turnstile_keeps_nobody_waiting(iterations: int):
    async def main() -> list[str]:
        turnstile, through = Turnstile(), list[str]()

        async def session(name: str) -> None:
            await turnstile.pass_through()
            through.append(name)
            await asyncio.sleep(0)

        sessions = {name: asyncio.ensure_future(session(name)) for name in "abcd"}
        for _ in range(iterations):
            await asyncio.sleep(0)
        sessions["b"].cancel()
        await asyncio.wait_for(asyncio.gather(*sessions.values(), return_exceptions=True), HANG_SECONDS)
        await asyncio.wait_for(session("e"), HANG_SECONDS)
        return through

    through = asyncio.run(main())
    assert [name for name in through if name != "b"] == ["a", "c", "d", "e"]


def test_a_time_limit_counts_work_and_not_waiting_for_a_turn():
    async def wait(seconds: float) -> None:
        with off_the_clock():
            await asyncio.sleep(seconds)

    async def main() -> None:
        with time_limit(0.2):
            await asyncio.gather(wait(0.4), wait(0.6))  # together, and longer than the limit
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError), time_limit(0.2):
            await wait(0.4)
            await asyncio.sleep(HANG_SECONDS)
        await wait(0.0)  # without a limit it is nothing

    asyncio.run(main())
