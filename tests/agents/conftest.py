from __future__ import annotations

from tests.harness.conftest import harness

__all__ = ["harness"]
