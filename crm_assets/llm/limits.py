"""Finds out how fast one server may be asked, as it goes, for all who ask it.

The number of calls at a time adapts as inspect_ai's does: it starts at 20 and doubles after each clean
round (as many good replies in a row as there may be calls) until the provider first says 429. Each 429 cuts
it by a fifth, and from then on a clean round adds a twentieth. Where the provider says how long to wait,
everyone waits.

A server of one's own mostly queues instead of refusing. There it starts at 4 and grows only while that
gets more done: latency is compared with the shortest seen for replies of about that length, as TCP Vegas
does with round trips (Brakmo et al., 1994). It doubles each round; where replies are quick it quadruples
first, since in a queue that this makes nobody waits long. When nothing listens any more, all calls wait
(see `outage`).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from crm_assets.concurrency import off_the_clock
from crm_assets.llm.failures import FailureKind, RetryPolicy
from crm_assets.llm.outage import Outage

__all__ = ["ProviderLimiter", "ProviderLimits", "Slot"]

_START = 20
_OWN_START = 4
_CUT = 0.8
_CUT_AFTER_TIMEOUT = 0.5
_RISE = 0.05
_SPREAD = 0.1
_MOST_SPREAD_SECONDS = 1.0
_STEP, _LARGE_STEP = 2, 4
"""Factors by which a search changes the calls."""
_QUICK_SECONDS = 2.0
"""Latency up to which steps are large."""
_WORTH_GROWING = 1.2
"""Throughput ratio that a step must reach; a large one more, since a part of it may have sufficed."""
_TOO_SLOW = 2.0
"""Latency ratio to the best number of calls that is too much."""
_STEADY_ROUNDS = 4
"""After which doubling is tried again."""


@dataclass(frozen=True)
class ProviderLimits:
    """Limits of one provider."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_connections: int = 64
    """Most calls at a time; how many there are within that is found out."""


class _Bucket:
    """A token bucket that holds a second's worth and may be overdrawn: the next ones wait it off.

    Overdrawing lets calls through that are larger than the bucket, at the right rate all the same.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60.0
        self._size = max(1.0, self._rate)
        self._level = self._size
        self._at = time.monotonic()

    def take(self, amount: float) -> float:
        """Take `amount`; returns the seconds to wait before it may be used."""
        now = time.monotonic()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        wait = max(0.0, 1.0 - self._level) / self._rate
        self._level -= amount
        return wait

    def give_back(self, amount: float) -> None:
        """Correct what was taken by what it came to."""
        self._level = min(self._size, self._level + amount)


@dataclass
class Slot:
    """Leave to make one call."""

    period: int
    """Number of the period between two cuts that it was given in."""
    tokens: int
    """Estimated cost of the call."""


@dataclass
class _Latency:
    """Track how a server's latency grows with the number of calls."""

    shortest: dict[int, float] = field(default_factory=dict)
    """Seconds, by the power of two of the reply's tokens."""
    round: list[float] = field(default_factory=list)
    """Latencies of this round, as multiples of the shortest."""
    best_calls: int = 0
    best_ratio: float = 1.0
    is_searching: bool = True
    """Multiplies the number of calls as long as that is worth it."""
    growth: int = _LARGE_STEP
    """Factor of the search's steps."""
    steady: int = 0
    """Rounds since the last search whose latency was no longer than the best."""

    def add(self, seconds: float, completion_tokens: int) -> None:
        size = completion_tokens.bit_length()
        shortest = self.shortest[size] = min(seconds, self.shortest.get(size, seconds))
        self.round.append(seconds / shortest if shortest > 0 else 1.0)

    def end_round(self) -> float:
        ratio = statistics.median(self.round)
        self.round.clear()
        return ratio

    def search(self, calls: int, ratio: float) -> int:
        """Return the number of calls to try after a round of `calls` whose latency ratio was `ratio`."""
        step = calls / self.best_calls if self.best_calls else 1.0
        worth = max(_WORTH_GROWING, _WORTH_GROWING * step / _STEP)
        if calls / ratio >= worth * self.best_calls / self.best_ratio:
            self.best_calls, self.best_ratio = calls, ratio
            if max(self.shortest.values()) > _QUICK_SECONDS:
                self.growth = _STEP
            return calls * self.growth
        if self.growth > _STEP:
            self.growth = _STEP
            return self.best_calls * self.growth
        self.is_searching, self.steady = False, 0
        return self.best_calls

    def keep(self, calls: int, ratio: float) -> int:
        """Return the number of calls for the next round, once the search has ended."""
        if ratio > _TOO_SLOW * self.best_ratio:
            self.steady = 0
            return max(1, int(calls * _CUT))
        if ratio > _WORTH_GROWING * self.best_ratio:
            return calls
        self.steady += 1
        if self.steady < _STEADY_ROUNDS:
            return _risen(calls)
        # The first search may have met a busy moment.
        self.is_searching, self.growth = True, _STEP
        self.best_calls, self.best_ratio = calls, ratio
        return calls * self.growth


def _risen(calls: int) -> int:
    return calls + max(1, int(calls * _RISE))


class ProviderLimiter:
    """Limits of one server. Belongs to one event loop."""

    def __init__(
        self,
        limits: ProviderLimits,
        dice: random.Random,
        *,
        own_server: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._most = limits.max_connections
        self._calls = anyio.CapacityLimiter(min(_OWN_START if own_server else _START, self._most))
        self._requests = _Bucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = _Bucket(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._dice = dice
        self._period = 0
        self._clean = 0
        self._closed_until = 0.0
        self._latency = _Latency() if own_server else None
        self.outage = Outage(policy or RetryPolicy())

    @property
    def counts_tokens(self) -> bool:
        """Tell if it matters how many tokens a call takes."""
        return self._tokens is not None

    @property
    def calls_at_a_time(self) -> int:
        """Number of calls that may be open now."""
        return int(self._calls.total_tokens)

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[Slot]:
        """Wait for leave to make a call of about so many tokens; held until the block ends."""
        borrower = object()
        try:
            self._calls.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            with off_the_clock():
                await self._calls.acquire_on_behalf_of(borrower)
        try:
            with off_the_clock():
                await self._wait_for_rates(tokens)
                await self._wait_till_open()
            if not self.outage.is_on:
                yield Slot(self._period, tokens)
                return
            async with self.outage.waited_off():
                yield Slot(self._period, tokens)
        finally:
            self._calls.release_on_behalf_of(borrower)

    async def _wait_for_rates(self, tokens: int) -> None:
        wait = 0.0
        if self._requests is not None:
            wait = self._requests.take(1)
        if self._tokens is not None:
            wait = max(wait, self._tokens.take(tokens))
        if wait > 0:
            await anyio.sleep(wait)

    async def _wait_till_open(self) -> None:
        while (wait := self._closed_until - time.monotonic()) > 0:
            # All wake at the same moment otherwise, and are refused again.
            spread = min(_MOST_SPREAD_SECONDS, wait * _SPREAD)
            await anyio.sleep(wait + self._dice.uniform(0.0, spread))

    def report(
        self,
        slot: Slot,
        *,
        tokens: int,
        failure: FailureKind | None,
        wait_seconds: float | None = None,
        seconds: float = 0.0,
        completion_tokens: int = 0,
    ) -> None:
        """Say how a call went.

        Args:
            slot: its leave.
            tokens: that it took.
            failure: why it failed, None if it did not.
            wait_seconds: how long the provider asks to wait.
            seconds: how long it took.
            completion_tokens: of its reply.
        """
        if self._tokens is not None:
            self._tokens.give_back(slot.tokens - tokens)
        if wait_seconds is not None:
            self._closed_until = max(self._closed_until, time.monotonic() + wait_seconds)
        if failure == "rate_limited":
            self._cut(slot, _CUT)
        elif failure == "timeout" and self._latency is not None:
            self._cut(slot, _CUT_AFTER_TIMEOUT)
        elif failure is None:
            if self._latency is not None and slot.period == self._period:
                self._latency.add(seconds, completion_tokens)
            self._count_clean(slot)

    def _cut(self, slot: Slot, share: float) -> None:
        # Calls that went out before the last cut do not count for what is allowed since; likewise below.
        if slot.period == self._period:
            self._restart(max(1, int(self.calls_at_a_time * share)))

    def _restart(self, calls: int) -> None:
        self._period += 1
        self._clean = 0
        self._calls.total_tokens = calls

    def _count_clean(self, slot: Slot) -> None:
        if slot.period != self._period:
            return
        self._clean += 1
        now = self.calls_at_a_time
        if self._clean < now:
            return
        self._clean = 0
        if self._latency is None:
            self._allow(now * 2 if self._period == 0 else _risen(now))
            return
        ratio = self._latency.end_round()
        adapt = self._latency.search if self._latency.is_searching else self._latency.keep
        calls = adapt(now, ratio)
        if calls < now:
            self._restart(calls)
        else:
            self._allow(calls)

    def _allow(self, calls: int) -> None:
        self._calls.total_tokens = min(self._most, calls)
