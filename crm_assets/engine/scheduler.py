"""In which order sessions run, and which may run side by side."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import NamedTuple

from crm_assets.atlas.identity import session_key

__all__ = ["Lanes", "Slot"]


class Slot(NamedTuple):
    """One session to run."""

    position: int
    """Of its task in tasks.jsonl, from 0."""
    task_id: str
    epoch: int

    @property
    def key(self) -> str:
        """The session's key."""
        return session_key(self.task_id, self.epoch)


_Lane = tuple[int, int, list[Slot]]
"""How many are left (negative, so that the longest comes first), which lane, and its sessions backwards."""


class Lanes:
    """Hands out sessions. Those of one lane run one after the other, lanes side by side.

    With learning on a lane is a learning key: each session starts from what the one before has learnt,
    and the longest lane goes first, since nothing can make a run shorter than its longest lane.
    Otherwise nothing waits for anything: the longest sessions of an epoch go first where it is known which
    those are, since one that begins last keeps a run waiting by itself; else tasks go in their order.
    """

    def __init__(
        self,
        tasks: Iterable[tuple[str, str]],
        *,
        epochs: int,
        in_order: bool,
        lengths: Sequence[int] | None = None,
        is_done: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """Arrange the sessions.

        Args:
            tasks: ID and learning key of each, in order.
            epochs: how often each is worked on; the second time comes after every first.
            in_order: whether a learning key's sessions wait for each other.
            lengths: how long the session of each task is, in whatever unit.
            is_done: whether a session (by key) is not to be run.
        """
        grouped: dict[str, list[Slot]] = {}
        known = list(enumerate(tasks))
        if lengths is not None and not in_order:
            known.sort(key=lambda numbered: -lengths[numbered[0]])
        for epoch in range(1, epochs + 1):
            for position, (task_id, learning_key) in known:
                slot = Slot(position, task_id, epoch)
                if not is_done(slot.key):
                    grouped.setdefault(learning_key if in_order else "", []).append(slot)
        self._in_order = in_order
        self._waiting: list[_Lane] = []
        for number, slots in enumerate(grouped.values()):
            slots.reverse()  # the next one is the last, which is cheap to take
            self._put_back((0, number, slots))
        self._busy = 0
        self._changed = asyncio.Event()

    async def next(self) -> AsyncGenerator[Slot, None]:
        """One worker's sessions; while it holds one, nobody else gets another of that lane."""
        while (lane := await self._take()) is not None:
            slot = lane[2].pop()
            if not self._in_order:
                self._put_back(lane)
            try:
                yield slot
            finally:
                if self._in_order:
                    self._busy -= 1
                    self._put_back(lane)
                    self._changed.set()

    async def _take(self) -> _Lane | None:
        while not self._waiting:
            if not self._busy:
                return None
            self._changed.clear()
            await self._changed.wait()
        self._busy += self._in_order
        return heapq.heappop(self._waiting)

    def _put_back(self, lane: _Lane) -> None:
        _, number, slots = lane
        if slots:
            heapq.heappush(self._waiting, (-len(slots), number, slots))
