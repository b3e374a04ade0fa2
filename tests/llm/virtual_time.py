"""An event loop whose clock jumps to the next moment that something waits for, instead of waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TypeVar

import pytest

__all__ = ["run_in_virtual_time"]

_T = TypeVar("_T")


class _Clock:
    """What time it is, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Does not wait for its timeout: the clock does."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout and 0)
        if timeout is not None and not found:
            self._clock.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: _Clock) -> None:
        self._virtual = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._virtual.now


def run_in_virtual_time(work: Callable[[Callable[[], float]], Awaitable[_T]], *modules: str) -> _T:
    """Return the result of `work`, which is handed the clock, as are `modules` in place of `time`."""
    clock = _Clock()
    loop = _Loop(clock)

    async def begun() -> _T:
        return await work(clock.monotonic)

    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(f"{module}.time", SimpleNamespace(monotonic=clock.monotonic))
        try:
            return loop.run_until_complete(begun())
        finally:
            loop.close()
