"""Tells from what litellm raises what went wrong with a call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from crm_assets.llm.failures import Failure, FailureKind, failure_of_response, one_line
from crm_assets.llm.replies import Completion

__all__ = ["failure_of_exception"]

_PREFIX = re.compile(r"^(?:[\w.]*(?:Error|Timeout|Exception)(?: Error)?: )+(?:\w*Exception(?: \w+)? - )?")
_SUFFIX = re.compile(r"\.? (?:Handle with `litellm\.\w+`\.|File an issue if litellm error - \S+)$")
_MADE_UP, _SERVER_ERROR = 422, 500
_SAID: Mapping[FailureKind, str] = {
    "timeout": "no answer in time",
    "connection": "the connection failed",
    "unreadable": "the answer was no complete JSON document",
}
"""litellm's own words say less, or too much."""


def failure_of_exception(error: Exception, redact: Callable[[str], str]) -> Completion:
    """Return what an exception of litellm's comes to.

    litellm tells many things that never came from a server as status 500, so where no response stands
    behind an error, what it was raised from decides. Whatever is left then comes from a reply that litellm
    could not take apart.
    """
    headers = _response_headers(error)
    status = getattr(error, "status_code", None)
    text, body = _words(str(error)), getattr(error, "body", None)
    failure: Failure | None = None
    if headers is None:
        failure = _failure_of_cause(error)
        # 422 is what it makes of an error in a good response, which may pass, unlike a refusal.
        if failure is not None or not isinstance(status, int) or status in (_MADE_UP, _SERVER_ERROR):
            failure = failure or Failure("malformed", _one_line(text, redact, error))
            sent = failure.kind in ("malformed", "unreadable", "timeout") or not failure.is_down
            return Completion(failure=failure) if sent else Completion.refused(failure)
    status = status if isinstance(status, int) else _SERVER_ERROR
    if type(error).__name__ == "ContextWindowExceededError":
        return Completion.refused(Failure("context_window", _one_line(text, redact, error), status=status))
    document: object = body if isinstance(body, dict) else _json(text)
    failure = failure_of_response(status, headers or {}, document, redact)
    if failure.kind == "rejected" and headers is not None and (kind := _kind_of_body(error)):
        # Some providers' parts make a 422 of a good response whose body they cannot take apart.
        return Completion(failure=Failure(kind, _SAID.get(kind) or failure.message))
    return Completion.refused(failure)


def _one_line(text: str, redact: Callable[[str], str], error: Exception) -> str:
    return one_line(text, redact).rstrip(".") or type(error).__name__


def _words(text: str) -> str:
    """Return what the provider said of all that litellm makes of it."""
    return _SUFFIX.sub("", _PREFIX.sub("", text)).partition(" Traceback")[0]


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _failure_of_cause(error: Exception) -> Failure | None:
    import httpx  # noqa: PLC0415  (comes with litellm)
    import openai  # noqa: PLC0415  (likewise; what litellm raises derives from its classes)

    for cause in _chain(error):
        if isinstance(cause, (openai.APITimeoutError, httpx.TimeoutException, TimeoutError)):
            return Failure("timeout", _SAID["timeout"])
        if isinstance(cause, (httpx.TransportError, OSError)) or type(cause) is openai.APIConnectionError:
            down = any(
                isinstance(link, (httpx.ConnectError, ConnectionRefusedError)) for link in _chain(error)
            )
            return Failure("connection", _SAID["connection"], is_down=down)
    kind = _kind_of_body(error)
    return Failure(kind, _SAID.get(kind) or "the reply has another form") if kind else None


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
    """Return the headers of the response that the error comes from; None where there was none."""
    headers = getattr(error, "litellm_response_headers", None)
    if not headers:
        headers = getattr(getattr(error, "response", None), "headers", None)
    return {str(name).lower(): str(value) for name, value in headers.items()} if headers else None
