"""Pauses calls to a server that has gone away: a circuit breaker, with one call at a time as its probe."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from crm_assets.llm.failures import RetryPolicy

__all__ = ["Outage"]

_LONGEST_PAUSE_SECONDS = 10.0


class Outage:
    """Pauses all calls to a server that has gone away; one at a time tries if it is back."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._has_answered = False
        self._since: float | None = None
        self._pause = 0.0
        self._trying = False
        self._news = anyio.Event()

    @property
    def seconds(self) -> float:
        """Seconds that the server has been away; 0 while it answers."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    @property
    def is_on(self) -> bool:
        """Tell if the server is away."""
        return self._since is not None

    @property
    def may_end(self) -> bool:
        """Tell if calls should wait: the server was there before, and has not been away for too long."""
        return self._since is not None and self._has_answered and self.seconds < self._policy.outage_seconds

    @asynccontextmanager
    async def waited_off(self) -> AsyncIterator[None]:
        """Wait until the server is there, or it is this call's turn to try."""
        while self.may_end and self._trying:
            await self._news.wait()
        if not self.may_end:
            yield
            return
        self._trying = True
        try:
            await anyio.sleep(self._pause)
            yield
        finally:
            self._trying = False
            self._tell()

    def report(self, *, is_down: bool, is_loading: bool) -> None:
        """Say if the server was there for a call."""
        self._has_answered = self._has_answered or is_loading or not is_down
        if not is_down:
            if self._since is not None:
                self._since = None
                self._tell()
        elif self._since is None:
            self._since, self._pause = time.monotonic(), self._policy.base_seconds
        elif self._trying:
            self._pause = min(_LONGEST_PAUSE_SECONDS, self._pause * 2)

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
