"""Keeps a worker and its database backend on one core, where the system allows it.

A replay is a conversation of two processes in turns. When both share a core, neither has to be woken up
on an idle one, which costs more than the statement itself. Best effort: Linux only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from crm_assets.crm import Sandbox

__all__ = ["pin_beside", "pinned_to_core"]


def _core(number: int) -> int | None:
    """Return the core for worker `number`; None if there are fewer cores."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return cores[number] if number < len(cores) else None


@contextmanager
def pinned_to_core(number: int | None) -> Iterator[None]:
    """Keep this process on core `number` for the length of a block; None for any core."""
    core = None if number is None else _core(number)
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def pin_beside(sandbox: Sandbox) -> None:
    """Keep a sandbox's backend on the core of this process.

    The process waits for each statement, so the two never want the core at the same time. The backend
    may be another user's process, or on another machine; then nothing happens.
    """
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(sandbox.backend_pid, os.sched_getaffinity(0))
