"""The order of sessions, and which may run concurrently."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

from crm_assets.engine.work import WorkItem

__all__ = ["Scheduler"]


class _Queue(NamedTuple):
    """The sessions that wait for each other."""

    priority: int
    """Minus the number of items left: the longest queue comes first."""
    number: int
    items: list[WorkItem]
    """Backwards: taking the last one is cheap."""


class Scheduler:
    """Hands out sessions to any number of workers.

    With learning on, sessions of one learning key run one after the other, since each starts from what
    the one before has learnt; the key with the most sessions left goes first, because a run cannot be
    shorter than its longest key. Otherwise nothing waits: within an epoch the longest sessions go first
    if asked for (one that begins last keeps the whole run waiting), else items keep their order.
    """

    def __init__(self, items: Iterable[WorkItem], *, in_order: bool, longest_first: bool = False) -> None:
        """Arrange the sessions that are to be run, given in order and epoch by epoch."""
        if longest_first and not in_order:
            items = sorted(items, key=lambda item: (item.epoch, -item.turns))
        grouped: dict[str, list[WorkItem]] = {}
        for item in items:
            grouped.setdefault(item.learning_key if in_order else "", []).append(item)
        self._in_order = in_order
        self._waiting: list[_Queue] = []
        for number, queue in enumerate(grouped.values()):
            self._put_back(_Queue(0, number, queue[::-1]))
        self._busy = 0
        self._changed = asyncio.Event()

    async def next(self) -> AsyncGenerator[WorkItem, None]:
        """Yield one worker's sessions; while it holds one, no other of that learning key is handed out."""
        while (queue := await self._take()) is not None:
            item = queue.items.pop()
            if not self._in_order:
                self._put_back(queue)
            try:
                yield item
            finally:
                if self._in_order:
                    self._busy -= 1
                    self._put_back(queue)
                    self._changed.set()

    def upcoming(self, count: int) -> list[WorkItem]:
        """Return up to `count` sessions that may be handed out next."""
        if self._in_order:
            return [queue.items[-1] for queue in heapq.nsmallest(count, self._waiting)]
        return [item for queue in self._waiting for item in queue.items[: -count - 1 : -1]]

    async def _take(self) -> _Queue | None:
        while not self._waiting:
            if not self._busy:
                return None
            self._changed.clear()
            await self._changed.wait()
        self._busy += self._in_order
        return heapq.heappop(self._waiting)

    def _put_back(self, queue: _Queue) -> None:
        if queue.items:
            heapq.heappush(self._waiting, queue._replace(priority=-len(queue.items)))
