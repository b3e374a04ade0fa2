"""What an exception of litellm's means: a kind of failure, a sentence, how long to wait."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from crm_assets.llm.retries import FailureKind, retry_after_seconds

__all__ = ["Failure", "failure_of", "one_line"]

_LONGEST_MESSAGE = 400
_PREFIX = re.compile(r"^(?:[\w.]*(?:Error|Timeout|Exception)(?: Error)?: )+(?:\w*Exception(?: \w+)? - )?")
_SUFFIX = re.compile(r"\.? (?:Handle with `litellm\.\w+`\.|File an issue if litellm error - \S+)$")
_UNSPEAKABLE = re.compile("[\ud800-\udfff\x00]")

_TOO_MANY, _REQUEST_TIMEOUT, _CONFLICT = 429, 408, 409
_NO_ENTRY = (401, 403)
_BAD_REQUEST, _MADE_UP, _SERVER_ERROR = 400, 422, 500
_USED_UP = "insufficient_quota"
_TOO_LONG = "context_length_exceeded"

_SAID: dict[FailureKind, str] = {
    "timeout": "no answer in time",
    "connection": "the connection failed",
    "unreadable": "the answer was no complete JSON document",
}
"""litellm's own words say less, or too much."""


@dataclass(frozen=True)
class Failure:
    """Why a request gave no usable reply."""

    kind: FailureKind
    message: str
    """One line, without secrets."""
    retry_after_seconds: float | None = None
    """How long the provider asks to wait."""


def failure_of(error: Exception, redact: Callable[[str], str]) -> Failure:
    """What `error`, raised by a call of litellm's, comes to.

    litellm tells many things that never came from a server as status 500, so where no response stands
    behind an error, what it was raised from decides. Whatever is left then comes from a reply that litellm
    could not take apart.
    """
    headers = _response_headers(error)
    kind = _kind(error, answered=headers is not None)
    wait = retry_after_seconds(headers) if headers is not None else None
    text = _SAID.get(kind) or one_line(_words(str(error)), redact).rstrip(".")
    return Failure(kind, text or type(error).__name__, wait)


def _words(text: str) -> str:
    """What the provider said of all that litellm makes of it."""
    text = _SUFFIX.sub("", _PREFIX.sub("", text)).partition(" Traceback")[0]
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return text
    return message if isinstance(message, str) else text


def one_line(text: str, redact: Callable[[str], str]) -> str:
    """A text of others as it may be written: short, on one line, without secrets."""
    line = " ".join(redact(_UNSPEAKABLE.sub("\ufffd", text)).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _kind(error: Exception, *, answered: bool) -> FailureKind:
    from litellm.exceptions import ContextWindowExceededError  # noqa: PLC0415  (it raised the error)

    if isinstance(error, ContextWindowExceededError):
        return "context_window"
    status = getattr(error, "status_code", None)
    if not answered:
        kind = _kind_of_cause(error)
        # 422 is what it makes of an error in a good response, which may pass, unlike a refusal.
        if kind is None and isinstance(status, int) and status < _SERVER_ERROR and status != _MADE_UP:
            kind = _kind_of_status(status, str(error))
        return kind or "malformed"
    if not isinstance(status, int):
        return "malformed"
    kind = _kind_of_status(status, str(error) + str(getattr(error, "body", "")))
    # Some providers' parts make a 422 of a good response whose body they cannot take apart.
    return (_kind_of_body(error) or kind) if kind == "rejected" else kind


def _kind_of_status(status: int, text: str) -> FailureKind:
    if status in _NO_ENTRY or (status == _TOO_MANY and _USED_UP in text):
        return "authentication"
    if status == _TOO_MANY:
        return "rate_limited"
    if status in (_REQUEST_TIMEOUT, _CONFLICT) or status >= _SERVER_ERROR:
        return "server_error"
    if _TOO_LONG in text:
        return "context_window"
    return "rejected" if status >= _BAD_REQUEST else "malformed"


def _kind_of_cause(error: Exception) -> FailureKind | None:
    import httpx  # noqa: PLC0415  (comes with litellm)
    import openai  # noqa: PLC0415  (likewise; what litellm raises derives from its classes)

    for cause in _chain(error):
        if isinstance(cause, (openai.APITimeoutError, httpx.TimeoutException, TimeoutError)):
            return "timeout"
        if isinstance(cause, (httpx.TransportError, OSError)) or type(cause) is openai.APIConnectionError:
            return "connection"
    return _kind_of_body(error)


def _kind_of_body(error: Exception) -> FailureKind | None:
    for cause in _chain(error):
        if isinstance(cause, (json.JSONDecodeError, UnicodeDecodeError)):
            return "unreadable"
        if isinstance(cause, (TypeError, LookupError, AttributeError, ValueError)):
            return "malformed"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _response_headers(error: Exception) -> Mapping[str, str] | None:
    """The headers of the response that the error tells of; None where there was none."""
    headers = getattr(error, "litellm_response_headers", None)
    if not headers:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return {str(name).lower(): str(value) for name, value in headers.items()} if headers else None
