"""How fast one provider is asked: found out as it goes, shared by all who ask it.

The number of calls at a time adapts as inspect_ai's does: it starts at 20 and doubles after each clean
round (as many good replies in a row as there may be calls) until the provider first says 429. Each 429 cuts
it by a fifth, and from then on a clean round adds a twentieth. Where the provider says how long to wait,
everyone waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from crm_assets.llm.retries import FailureKind

__all__ = ["ProviderLimiter", "ProviderLimits", "Slot"]

_START = 20
_CUT = 0.8
_RISE = 0.05
_SPREAD = 0.1
_MOST_SPREAD_SECONDS = 1.0


@dataclass(frozen=True)
class ProviderLimits:
    """What one provider allows."""

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
    """Which of the periods between two cuts it was given in."""
    tokens: int
    """What the call was thought to take."""


class ProviderLimiter:
    """Limits of one provider. Belongs to one event loop."""

    def __init__(self, limits: ProviderLimits, dice: random.Random) -> None:
        self._most = limits.max_connections
        self._calls = anyio.CapacityLimiter(min(_START, self._most))
        self._requests = _Bucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = _Bucket(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._dice = dice
        self._period = 0
        self._clean = 0
        self._closed_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a call takes."""
        return self._tokens is not None

    @property
    def calls_at_a_time(self) -> int:
        """How many calls may be under way now."""
        return int(self._calls.total_tokens)

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[Slot]:
        """Wait for leave to make a call of about so many tokens; held until the block ends."""
        borrower = object()
        try:
            self._calls.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            await self._calls.acquire_on_behalf_of(borrower)
        try:
            await self._wait_for_rates(tokens)
            await self._wait_till_open()
            yield Slot(self._period, tokens)
        finally:
            self._calls.release_on_behalf_of(borrower)

    async def _wait_for_rates(self, tokens: int) -> None:
        waits = [0.0]
        if self._requests is not None:
            waits.append(self._requests.take(1))
        if self._tokens is not None:
            waits.append(self._tokens.take(tokens))
        if (wait := max(waits)) > 0:
            await anyio.sleep(wait)

    async def _wait_till_open(self) -> None:
        while (wait := self._closed_until - time.monotonic()) > 0:
            # All wake at the same moment otherwise, and are refused again.
            spread = min(_MOST_SPREAD_SECONDS, wait * _SPREAD)
            await anyio.sleep(wait + self._dice.uniform(0.0, spread))

    def report(
        self, slot: Slot, *, tokens: int, failure: FailureKind | None, wait_seconds: float | None = None
    ) -> None:
        """Say how a call went: the tokens it took, why it failed, how long the provider asks to wait."""
        if self._tokens is not None:
            self._tokens.give_back(slot.tokens - tokens)
        if wait_seconds is not None:
            self._closed_until = max(self._closed_until, time.monotonic() + wait_seconds)
        if failure == "rate_limited":
            self._cut(slot)
        elif failure is None:
            self._count_clean(slot)

    def _cut(self, slot: Slot) -> None:
        # Calls that went out before the last cut say nothing of what is allowed since; likewise below.
        if slot.period == self._period:
            self._period += 1
            self._clean = 0
            self._calls.total_tokens = max(1, int(self.calls_at_a_time * _CUT))

    def _count_clean(self, slot: Slot) -> None:
        if slot.period != self._period:
            return
        self._clean += 1
        now = self.calls_at_a_time
        if self._clean >= now:
            self._clean = 0
            more = max(1, int(now * _RISE)) if self._period else now
            self._calls.total_tokens = min(self._most, now + more)
