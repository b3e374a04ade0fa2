"""Tells what went wrong with a call from a response's status and body, and when it is worth another try."""

from __future__ import annotations

import email.utils
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Failure",
    "FailureKind",
    "RetryPolicy",
    "failure_of_response",
    "is_transient",
    "one_line",
    "retry_after_seconds",
]

FailureKind = Literal[
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "unreadable",
    "malformed",
    "length",
    "content_filter",
    "unsupported",
    "context_window",
    "too_large",
    "rejected",
    "authentication",
    "cancelled",
]
"""Why a call gave no usable reply.

429; 408, 409 and 5xx; no answer in time; no or a broken connection; a body that is no JSON; a reply that is
not of the form asked for; a reply cut off at the most tokens allowed; a reply that the provider withheld; a
parameter that the server does not take, left out from here on; too long a request for the model; too large
a request for the account; another 4xx; 401, 402, 403 or a used-up quota; the caller went away.
"""

_TRANSIENT: frozenset[FailureKind] = frozenset(
    {"rate_limited", "server_error", "timeout", "connection", "unreadable"}
)
_MOST_DOUBLINGS = 30
_LONGEST_MESSAGE = 400
_UNSPEAKABLE = re.compile("[\ud800-\udfff\x00]")

_TABLE: tuple[tuple[FailureKind, range, str], ...] = (
    # kind, HTTP status, what code, type or message hold; the first row that fits counts
    (
        "context_window",
        range(400, 600),
        "context_length_exceeded|exceed_context_size|maximum context length|context window|context size"
        "|prompt is too long|input is too long|input length exceeds",
    ),
    (
        "authentication",
        range(400, 600),
        "insufficient_quota|insufficient_balance|billing_not_active|credit balance is too low"
        "|insufficient (?:credits|balance)",
    ),
    ("content_filter", range(403, 404), "moderation|flagged"),
    ("authentication", range(401, 404), ""),  # 402: nothing left to pay with
    # Trying again makes it no smaller, whatever its code says of a rate.
    ("too_large", range(413, 414), ""),
    ("too_large", range(400, 500), "request too large|entity too large|payload too large"),
    ("rate_limited", range(429, 430), ""),
    ("server_error", range(408, 410), ""),
    ("server_error", range(425, 426), ""),
    ("server_error", range(500, 600), ""),
    ("content_filter", range(400, 500), "content_filter|content_policy_violation"),
)
_LOADING = re.compile(r"loading|starting|not ready|unavailable_error", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported_parameter|unsupported_value|unknown_parameter|unrecognized request arg"
)

_BAD_REQUEST, _SERVER_ERROR, _UNAVAILABLE = 400, 500, 503


@dataclass(frozen=True)
class Failure:
    """Why a request gave no usable reply."""

    kind: FailureKind
    message: str
    """One line, without secrets."""
    retry_after_seconds: float | None = None
    """Seconds that the provider asks to wait."""
    is_down: bool = False
    """Nothing listens at the address, or the server still loads: all calls to it can wait."""
    status: int | None = None
    """Of the response, or of the error that came in the body of a good one."""
    unsupported: str | None = None
    """The parameter that the server does not take, where it names one."""


def is_transient(kind: FailureKind) -> bool:
    """Tell whether the same request may well succeed a little later."""
    return kind in _TRANSIENT


@dataclass(frozen=True)
class RetryPolicy:
    """Number and timing of a failed call's retries."""

    attempts: int = 8
    """Of one call, while what fails is the transport."""
    malformed_attempts: int = 5
    """Of one call, while replies come but cannot be used."""
    base_seconds: float = 0.5
    longest_seconds: float = 60.0
    """Of one wait, whatever the provider asks for."""
    outage_seconds: float = 600.0
    """Seconds that a server that has answered before may be away before its calls are given up."""

    def delay_seconds(self, failures: int, dice: random.Random) -> float:
        """Return how long to wait after so many failures in a row: exponential backoff with full jitter.

        See M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        return dice.uniform(0.0, min(self.longest_seconds, self.base_seconds * 2.0**doublings))


def failure_of_response(
    status: int, headers: Mapping[str, str], body: object, redact: Callable[[str], str]
) -> Failure:
    """Return what an error response means.

    Args:
        status: of HTTP; 200 for an error that came in the body of a good response.
        headers: of the response, names in lower case.
        body: the JSON document, or the text if it is not JSON.
        redact: takes secrets out of a text.
    """
    error = _error_of(body)
    text = f"{error.code or ''} {error.type or ''} {error.message}"
    if status < _BAD_REQUEST:
        status = int(error.code) if error.code and re.fullmatch(r"[45]\d\d", error.code) else _SERVER_ERROR
    kind = _kind(status, text)
    message = one_line(error.message, redact).rstrip(".") or f"HTTP status {status}"
    return Failure(
        kind,
        message,
        retry_after_seconds(headers) if error.retry_seconds is None else error.retry_seconds,
        is_down=status == _UNAVAILABLE and _LOADING.search(text) is not None,
        status=status,
        unsupported=error.parameter if _UNSUPPORTED.search(text) else None,
    )


def _kind(status: int, text: str) -> FailureKind:
    """Return the kind of failure that a status and the words of an error come to."""
    for kind, statuses, words in _TABLE:
        if status in statuses and re.search(words, text, re.IGNORECASE):
            return kind
    return "rejected"


@dataclass(frozen=True)
class _Error:
    """Read a server's error message, in whichever form it comes."""

    message: str
    code: str | None = None
    type: str | None = None
    parameter: str | None = None
    retry_seconds: float | None = None


def _error_of(body: object) -> _Error:
    """Read the forms of OpenAI, vLLM, llama.cpp, Ollama, FastAPI and Google."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        return _Error("" if body.lstrip().startswith("<") else body)
    if not isinstance(body, dict):
        return _Error("")
    error = body.get("error", body)
    if isinstance(error, str):
        return _Error(error, _word(body.get("code")), _word(body.get("type")))
    if not isinstance(error, dict):
        error = body
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    return _Error(
        message if isinstance(message, str) else str(message),
        _word(error.get("code")),
        _word(error.get("type") or error.get("status")),
        _word(error.get("param")),
        _retry_info(error.get("details")),
    )


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def _retry_info(details: object) -> float | None:
    """Read `retryDelay` ("34.5s") of google.rpc.RetryInfo."""
    for detail in details if isinstance(details, list) else ():
        delay: Any = detail.get("retryDelay") if isinstance(detail, dict) else None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)s", delay) if isinstance(delay, str) else None
        if match:
            return float(match.group(1))
    return None


def one_line(text: str, redact: Callable[[str], str]) -> str:
    """Return a text of others as it may be written: short, on one line, without secrets."""
    line = " ".join(redact(_UNSPEAKABLE.sub("\ufffd", text)).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return what a response asks to wait, from `retry-after-ms` or `retry-after` (seconds or HTTP date).

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
    """Return the seconds until an HTTP date; NaN if the text is not one."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan
