from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from crm_assets.concurrency import time_limit
from crm_assets.llm.failures import FailureKind
from crm_assets.llm.limits import ProviderLimiter, ProviderLimits, Slot
from tests.llm.asking import run
from tests.llm.virtual_time import run_in_virtual_time

LIMITS = "crm_assets.llm.limits"


def limiter(**limits: int) -> ProviderLimiter:
    return ProviderLimiter(ProviderLimits(**limits), random.Random(1))


async def go(limits: ProviderLimiter, times: int, failure: FailureKind | None = None) -> None:
    """So many calls, one after the other."""
    for _ in range(times):
        async with limits.slot(0) as slot:
            limits.report(slot, tokens=0, failure=failure)


def test_calls_at_a_time_double_until_the_first_refusal_then_rise_by_a_twentieth():
    async def watch() -> None:
        limits = limiter(max_connections=200)
        assert limits.calls_at_a_time == 20
        await go(limits, 20)
        assert limits.calls_at_a_time == 40
        await go(limits, 39)
        assert limits.calls_at_a_time == 40
        await go(limits, 1)
        assert limits.calls_at_a_time == 80
        await go(limits, 1, "rate_limited")
        assert limits.calls_at_a_time == 64
        await go(limits, 64)
        assert limits.calls_at_a_time == 67

    run(watch())


def test_calls_at_a_time_stay_within_bounds():
    async def watch() -> None:
        limits = limiter(max_connections=30)
        await go(limits, 200)
        assert limits.calls_at_a_time == 30
        await go(limits, 30, "rate_limited")
        assert limits.calls_at_a_time == 1
        await go(limits, 3)
        assert limits.calls_at_a_time == 3
        assert limiter(max_connections=5).calls_at_a_time == 5

    run(watch())


def test_a_burst_of_refusals_cuts_once():
    async def watch() -> None:
        limits = limiter()
        slots: list[Slot] = []

        async def one() -> None:
            async with limits.slot(0) as slot:
                slots.append(slot)
                await asyncio.sleep(0.01)
                limits.report(slot, tokens=0, failure="rate_limited")

        await asyncio.gather(*(one() for _ in range(20)))
        assert limits.calls_at_a_time == 16
        # replies to calls from before the cut say nothing of what is allowed since
        for slot in slots:
            limits.report(slot, tokens=0, failure=None)
        assert limits.calls_at_a_time == 16

    run(watch())


def test_other_failures_change_nothing():
    async def watch() -> None:
        limits = limiter()
        for kind in ("server_error", "timeout", "connection", "malformed", "rejected"):
            await go(limits, 30, kind)
        assert limits.calls_at_a_time == 20

    run(watch())


def test_nobody_is_let_in_while_the_provider_is_closed():
    async def watch(now: Callable[[], float]) -> None:
        limits = limiter()
        async with limits.slot(0) as slot:
            limits.report(slot, tokens=0, failure="rate_limited", wait_seconds=30)
        let_in: list[float] = []

        async def one() -> None:
            async with limits.slot(0):
                let_in.append(now())

        await asyncio.gather(*(one() for _ in range(5)))
        assert all(30 <= at <= 31 for at in let_in)  # no later than a second after it opens
        assert len(set(let_in)) == 5, "all knock at the same moment"

    run_in_virtual_time(watch, LIMITS)


def test_waiting_for_leave_is_no_part_of_a_time_limit():
    async def watch(now: Callable[[], float]) -> None:
        limits = limiter(max_connections=1)
        async with limits.slot(0) as slot:
            limits.report(slot, tokens=0, failure="rate_limited", wait_seconds=30)
        with time_limit(10):
            async with limits.slot(0):
                assert now() >= 30
        with pytest.raises(TimeoutError), time_limit(10):
            async with limits.slot(0):
                await asyncio.sleep(11)

    run_in_virtual_time(watch, LIMITS)


def test_who_gives_up_waiting_takes_no_place():
    async def watch() -> None:
        limits = limiter(max_connections=1)
        async with limits.slot(0):
            waiting = [asyncio.create_task(go(limits, 1)) for _ in range(3)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
            waiting[1].cancel()
            await asyncio.sleep(0.01)
            assert not waiting[2].done()
        await waiting[2]
        await go(limits, 1)

    run(watch())


def test_tokens_a_minute_are_kept_to_and_corrected():
    async def watch(now: Callable[[], float]) -> None:
        limits = limiter(tokens_per_minute=60_000)  # 1,000 a second
        assert limits.counts_tokens

        async def take(estimate: int, actual: int) -> float:
            started = now()
            async with limits.slot(estimate) as slot:
                waited = now() - started
                limits.report(slot, tokens=actual, failure=None)
            return waited

        assert await take(1_000, 1_300) == 0
        assert await take(10, 10) == pytest.approx(0.301)  # the 300 too many are waited off
        await asyncio.sleep(0.1)
        assert await take(5_000, 0) == 0  # larger than the bucket, and in the end nothing
        assert await take(10, 10) == 0

    run_in_virtual_time(watch, LIMITS)


def own_limiter(most: int = 64) -> ProviderLimiter:
    limits = ProviderLimits(max_connections=most)
    return ProviderLimiter(limits, random.Random(1), own_server=True)


async def play_rounds(limiter: ProviderLimiter, rounds: int, latency: Callable[[int], float]) -> None:
    """Let rounds of calls end whose latency follows from how many there are at a time."""
    for _ in range(rounds):
        calls = limiter.calls_at_a_time
        for _ in range(calls):
            async with limiter.slot(0) as slot:
                limiter.report(slot, tokens=0, failure=None, seconds=latency(calls), completion_tokens=20)


def test_a_server_of_ones_own_is_asked_by_few_at_first():
    assert own_limiter().calls_at_a_time == 4
    assert own_limiter(most=2).calls_at_a_time == 2


def test_a_server_that_works_side_by_side_gets_as_many_as_allowed():
    limiter = own_limiter()
    run(play_rounds(limiter, 5, lambda calls: 0.2 + calls * 0.001))  # as vLLM's batches
    assert limiter.calls_at_a_time == 64


def test_a_quick_server_gets_four_times_as_many_a_round_a_slow_one_twice():
    quick, slow = own_limiter(), own_limiter()
    run(play_rounds(quick, 2, lambda calls: 0.2))
    run(play_rounds(slow, 2, lambda calls: 20.0))
    assert (quick.calls_at_a_time, slow.calls_at_a_time) == (64, 16)


@pytest.mark.parametrize("at_once", [8, 32])
def test_a_search_in_large_steps_finds_the_number_between_them(at_once: int):
    limiter = own_limiter()
    run(play_rounds(limiter, 6, lambda calls: 0.2 * max(1.0, calls / at_once)))
    assert at_once <= limiter.calls_at_a_time <= at_once * 1.5


def test_a_server_that_queues_is_not_given_more():
    limiter = own_limiter()
    run(play_rounds(limiter, 30, lambda calls: 0.2 * max(1.0, calls / 8)))  # eight at a time, then a queue
    assert 4 <= limiter.calls_at_a_time <= 16


def test_a_busy_moment_at_the_start_is_not_held_against_a_server():
    limiter = own_limiter()
    run(play_rounds(limiter, 1, lambda calls: 0.2))
    run(play_rounds(limiter, 2, lambda calls: 1.0))
    assert limiter.calls_at_a_time == 4
    run(play_rounds(limiter, 12, lambda calls: 0.2))
    assert limiter.calls_at_a_time == 64


def test_a_server_that_slows_down_gets_fewer():
    limiter = own_limiter()
    run(play_rounds(limiter, 5, lambda calls: 0.2))
    run(play_rounds(limiter, 2, lambda calls: 0.2 * max(1.0, calls / 8)))
    before = limiter.calls_at_a_time
    run(play_rounds(limiter, 10, lambda calls: 0.2 * max(1.0, calls / 8)))
    assert limiter.calls_at_a_time < before


def test_a_timeout_of_ones_own_server_counts_as_too_many_calls():
    async def late(limiter: ProviderLimiter) -> None:
        async with limiter.slot(0) as slot:
            limiter.report(slot, tokens=0, failure="timeout")

    own, other = own_limiter(), ProviderLimiter(ProviderLimits(), random.Random(1))
    run(late(own))
    run(late(other))
    assert (own.calls_at_a_time, other.calls_at_a_time) == (2, 20)
