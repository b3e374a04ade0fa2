"""Errors of tools and seeds."""

from __future__ import annotations

from typing import Literal

from crm_assets.errors import InputError

__all__ = ["ErrorKind", "SeedError", "ToolError"]

ErrorKind = Literal["validation", "not_found", "conflict", "unknown_tool"]


class ToolError(Exception):
    """A tool refused a call and changed nothing. `str()` is one sentence for the agent."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message


class SeedError(InputError):
    """A seed that cannot become a valid row; the message names conversation, entity, ID and field."""
