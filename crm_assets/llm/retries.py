"""What can go wrong with a call, and when it is worth another try."""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["FailureKind", "RetryPolicy", "is_transient", "retry_after_seconds"]

FailureKind = Literal[
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "unreadable",
    "malformed",
    "context_window",
    "rejected",
    "authentication",
    "cancelled",
]
"""Why a call gave no usable reply.

429; 408, 409 and 5xx; no answer in time; no or a broken connection; a body that is no JSON; a reply that is
not of the form asked for; too long a request; another 4xx; 401, 403 or a used-up quota; the caller went
away.
"""

_TRANSIENT: frozenset[FailureKind] = frozenset(
    {"rate_limited", "server_error", "timeout", "connection", "unreadable"}
)
_MOST_DOUBLINGS = 30


def is_transient(kind: FailureKind) -> bool:
    """Whether the same request may well succeed a little later."""
    return kind in _TRANSIENT


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon a failed call is made again."""

    attempts: int = 8
    """Of one call, while what fails is the transport."""
    malformed_attempts: int = 5
    """Of one call, while replies come but cannot be used."""
    base_seconds: float = 0.5
    longest_seconds: float = 60.0
    """Of one wait, whatever the provider asks for."""

    def delay_seconds(self, failures: int, dice: random.Random) -> float:
        """How long to wait after so many failures in a row: exponential backoff with full jitter.

        See M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        return dice.uniform(0.0, min(self.longest_seconds, self.base_seconds * 2.0**doublings))


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """What a response asks to wait, from `retry-after-ms` or `retry-after` (seconds or an HTTP date).

    None where it asks for nothing that can be understood.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text)
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _until(date: str) -> float:
    """Seconds until an HTTP date; NaN if it is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan
