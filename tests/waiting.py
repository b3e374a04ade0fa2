"""Waiting for what must come: only a hang fails a test, never a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["HANG_SECONDS", "eventually"]

HANG_SECONDS = 600.0
"""What takes longer than this never ends."""


def eventually(condition: Callable[[], object], *, every_seconds: float = 0.01) -> bool:
    """Return True once `condition` holds, False if it does not within `HANG_SECONDS`."""
    give_up = time.monotonic() + HANG_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(every_seconds)
    return True
