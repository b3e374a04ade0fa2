"""Tells that a database has gone away, and waits until it is back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import psycopg

from crm_assets.errors import InfrastructureError, last_line

__all__ = [
    "DatabaseGone",
    "check_answers",
    "failure",
    "is_gone",
    "through_outage",
]

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_WORKED_SECONDS = 60.0
"""Work that lasted for so long had the database back: a new outage begins."""
_GONE = ("08", "57P01", "57P02", "57P03", "53300")
"""SQLSTATEs of connections that broke or could not be had (PostgreSQL, Appendix A)."""

_Result = TypeVar("_Result")


class DatabaseGone(InfrastructureError):
    """A database went away; what was under way can begin again once it is back."""


def is_gone(error: psycopg.Error) -> bool:
    """Tell if a statement failed because its connection did."""
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_GONE)


def failure(message: str, error: psycopg.Error) -> InfrastructureError:
    """Return the error that says `message`: `DatabaseGone` if the connection failed."""
    return (DatabaseGone if is_gone(error) else InfrastructureError)(message)


def check_answers(conninfo: str) -> None:
    """Connect and disconnect.

    Raises:
        DatabaseGone: that fails.
    """
    try:
        psycopg.connect(conninfo, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        raise DatabaseGone(
            f"The database does not answer ({last_line(error)}); start its server."
        ) from None


async def through_outage(work: Callable[[], Awaitable[_Result]], seconds: float) -> _Result:
    """Return the result of `work`, done again while a database is gone for up to `seconds`.

    Raises:
        DatabaseGone: it stayed away for longer.
    """
    give_up_at: float | None = None
    pause = _FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            return await work()
        except DatabaseGone:
            now = time.monotonic()
            if now - began > _WORKED_SECONDS:
                give_up_at, pause = None, _FIRST_PAUSE_SECONDS
            give_up_at = now + seconds if give_up_at is None else give_up_at
            if now + pause > give_up_at:
                raise
        await anyio.sleep(pause)
        pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
