"""A pool of sandboxes: opened on demand, checked after every session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from crm_assets.crm.sandbox import Sandbox
from crm_assets.errors import InfrastructureError

__all__ = ["SandboxPool"]

_PATIENCE_SECONDS = 120.0


class SandboxPool:
    """At most `size` sandboxes of one database; thread-safe."""

    def __init__(
        self,
        conninfo: str,
        *,
        size: int = 1,
        on_open: Callable[[Sandbox], None] | None = None,
    ) -> None:
        self._conninfo = conninfo
        self.size = size
        self._on_open = on_open
        self.discarded = 0
        """Number of sandboxes dropped because their base had changed or their connection was lost."""
        self._idle: list[Sandbox] = []
        self._open = 0
        self._next_slot = 1
        self._changed = threading.Condition()

    def acquire(self) -> Sandbox:
        """Lease a clean sandbox; wait while all are leased.

        Raises:
            InfrastructureError: none can be opened, or none was returned within two minutes.
        """
        with self._changed:
            if not self._idle and self._open >= self.size:
                self._changed.wait_for(lambda: self._idle or self._open < self.size, _PATIENCE_SECONDS)
            if self._idle:
                return self._idle.pop()
            if self._open >= self.size:
                raise InfrastructureError(
                    f"All {self.size} sandboxes were busy for {_PATIENCE_SECONDS:.0f} s; allow more "
                    "of them, or fewer concurrent sessions."
                )
            self._open += 1
            first = self._next_slot
        try:
            sandbox = Sandbox.open(self._conninfo, first_slot=first)
        except BaseException:
            with self._changed:
                self._open -= 1
                self._changed.notify()
            raise
        if self._on_open is not None:
            self._on_open(sandbox)
        with self._changed:
            self._next_slot = max(self._next_slot, sandbox.slot + 1)
        return sandbox

    def acquire_idle(self) -> Sandbox | None:
        """Lease an idle sandbox without opening one; return None if no sandbox is idle."""
        with self._changed:
            return self._idle.pop() if self._idle else None

    def release(self, sandbox: Sandbox) -> bool:
        """Take a sandbox back; return True if it is clean. A changed one is dropped."""
        try:
            clean = sandbox.is_clean()
            if clean:
                sandbox.maintain()
        except (psycopg.Error, InfrastructureError):
            clean = False
        lost = not sandbox.is_connected
        if not clean:
            # The count reports the sandbox; a failure to clean up adds nothing to it.
            with suppress(psycopg.Error, InfrastructureError):
                sandbox.destroy()
        with self._changed:
            if clean:
                self._idle.append(sandbox)
            else:
                if lost:  # the connections of the others are likely lost, too
                    self._close_idle()
                self.discarded += 1
                self._open -= 1
                self._next_slot = min(self._next_slot, sandbox.slot)
            self._changed.notify()
        return clean

    @contextmanager
    def lease(self) -> Iterator[Sandbox]:
        """Lease a sandbox for the length of a block."""
        sandbox = self.acquire()
        try:
            yield sandbox
        finally:
            self.release(sandbox)

    def close(self) -> None:
        """Close the idle sandboxes; leased ones close when their process ends."""
        with self._changed:
            self._close_idle()

    def _close_idle(self) -> None:
        for sandbox in self._idle:
            sandbox.close()
            self._next_slot = min(self._next_slot, sandbox.slot)
        self._open -= len(self._idle)
        self._idle.clear()

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
