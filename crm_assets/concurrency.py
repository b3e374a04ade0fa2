"""Doing things side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TypeVar

__all__ = ["gather_all", "run_all"]

_Result = TypeVar("_Result")


async def gather_all(work: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """The results of `work`, in its order, whatever the order in which they come.

    Where one of it fails, the first failure is raised once all have ended: nothing goes on unattended,
    and what has been paid for is still counted.
    """
    results: list[_Result] = []
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
        results.append(ended)
    return results


async def run_all(work: Iterable[Coroutine[object, object, None]]) -> None:
    """Run `work` side by side; where one of it fails, the others are cancelled and awaited first.

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
