"""Concurrent work: tasks, threads, processes."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import anyio

__all__ = [
    "Stop",
    "Stopped",
    "Turnstile",
    "deaf_to_interrupts",
    "gather_all",
    "in_thread",
    "off_the_clock",
    "process_lives",
    "run_all",
    "run_interruptible",
    "time_limit",
    "until_done",
    "usable_cores",
]

_Result = TypeVar("_Result")


async def gather_all(work: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """Return the results of `work`, in its order.

    If some of it fails, the first failure is raised once all have ended: nothing is left running, and what
    has been paid for is still counted.
    """
    results: list[_Result] = []
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
        results.append(ended)
    return results


async def run_all(work: Iterable[Coroutine[object, object, None]]) -> None:
    """Run `work` concurrently; if some of it fails, the rest is cancelled and awaited first.

    Cancelling this cancels all of it, too.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(
    work: Callable[[], _Result], *, undo: Callable[[_Result], object] | None = None
) -> _Result:
    """Do `work` in a thread, and wait for its end even if this is cancelled meanwhile.

    A thread cannot be stopped: its connection must not be used before it has ended. The cancellation is
    raised afterwards.

    Args:
        work: blocks.
        undo: called, in a thread too, with the result if this was cancelled.
    """
    doing = _start(work)
    cancelled = await until_done(doing)
    if cancelled is None:
        return doing.result()
    failed = doing.exception() is not None
    if undo is not None and not failed:
        await until_done(_start(partial(undo, doing.result())))
    raise cancelled


def _start(work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Start `work` in a thread, in no task of its own: an interrupted event loop would cancel that, too."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().run_in_executor(None, partial(context.run, work))


async def until_done(doing: asyncio.Future[_Result]) -> asyncio.CancelledError | None:
    """Wait for the end of `doing`; returns the last cancellation that came meanwhile."""
    cancelled = None
    with anyio.CancelScope(shield=True):  # keeps off timeouts of anyio's, which would cancel in a loop
        while not doing.done():
            try:
                await asyncio.wait({doing})
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


class Turnstile:
    """Lets tasks through one at a time: each runs until it waits for something before the next goes on.

    asyncio resumes all tasks whose answers have come before any of them gets to send what it sends next.
    Then the requests go out together, their answers come together, and each waits for the work on all.
    Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def pass_through(self) -> None:
        """Wait for this task's turn, which lasts until the task waits again."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._let_next_in()
                raise
        self._is_taken = True
        loop.call_soon(self._let_next_in)  # runs when the task has waited

    def _let_next_in(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False


class _Clock:
    """The time limit of a block of code, stopped while some of it waits its turn."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self._waiting = 0
        self._left = math.inf

    def stop(self) -> None:
        if not self._waiting:
            self._left, self._scope.deadline = self._scope.deadline - anyio.current_time(), math.inf
        self._waiting += 1

    def go_on(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._scope.deadline = anyio.current_time() + self._left


_CLOCK: ContextVar[_Clock | None] = ContextVar("clock", default=None)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the time of the block, in seconds, without what it spends `off_the_clock`.

    Raises:
        TimeoutError: it took longer.
    """
    with anyio.fail_after(seconds) as scope:
        token = _CLOCK.set(_Clock(scope))
        try:
            yield
        finally:
            _CLOCK.reset(token)


@contextmanager
def off_the_clock() -> Iterator[None]:
    """Keep the block, which waits for its turn, from counting toward a `time_limit` around it."""
    clock = _CLOCK.get()
    if clock is None:
        yield
        return
    clock.stop()
    try:
        yield
    finally:
        clock.go_on()


class Stopped(Exception):
    """Another thread asked the work to stop."""


class Stop:
    """Lets another thread stop work that runs in `run_interruptible`, as Ctrl-C does."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._take_effect: Callable[[], object] | None = None

    def ask(self) -> None:
        """Stop the work, now or as soon as it begins."""
        self._asked.set()
        if (take_effect := self._take_effect) is not None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                take_effect()

    def raise_if_asked(self) -> None:
        """Raise if it was asked.

        Raises:
            Stopped: it was.
        """
        if self._asked.is_set():
            raise Stopped("The work was asked to stop.")

    @contextmanager
    def heard(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> Iterator[None]:
        """Have `stop` called in the loop when it is asked within the block."""
        self._take_effect = partial(loop.call_soon_threadsafe, stop)
        try:
            self.raise_if_asked()
            yield
        finally:
            self._take_effect = None


def run_interruptible(
    work: Coroutine[Any, Any, _Result], stopping: Callable[[], object], stop: Stop | None = None
) -> _Result:
    """Run `work` in an event loop of its own; on Ctrl-C or SIGTERM it is cancelled, and its end awaited.

    Otherwise an interrupt would cancel everything in the loop, or break it off. The signal takes its usual
    effect once `work` has ended; a second one ends it at once.

    Args:
        work: what to run.
        stopping: called before `work` is cancelled.
        stop: cancels `work` from another thread.

    Raises:
        Stopped: `stop` was asked for it.
    """
    stop = stop or Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    in_main = threading.current_thread() is threading.main_thread()
    handled = [number for number, handler in before.items() if in_main and callable(handler)]
    received: list[signal.Signals] = []

    async def run() -> _Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            stopping()
            if task is not None:
                task.cancel()

        def interrupt(number: signal.Signals) -> None:
            if received:
                raise KeyboardInterrupt
            received.append(number)
            cancel()

        for number in handled:
            loop.add_signal_handler(number, interrupt, number)
        try:
            with stop.heard(loop, cancel):
                return await work
        finally:
            work.close()
            for number in handled:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    try:
        return asyncio.run(run())
    except BaseException:
        if received:
            signal.raise_signal(received[0])
        stop.raise_if_asked()
        raise


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C; the parent handles it, after the block."""
    resource_tracker.ensure_running()  # started any later, it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_lives(pid: int) -> bool:
    """Return True if a process of this machine has the number `pid`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    return True
