"""Keeps keys out of whatever is written or said.

Errors of providers and libraries like to quote what they were sent, so every text of theirs goes through
here before it reaches a file, a log or an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

__all__ = ["REDACTED", "make_redactor"]

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"_(API_KEY|KEY|TOKEN|PASSWORD|SECRET)$")
_SHORTEST_SECRET = 6
"""Shorter values are too common in ordinary text to be replaced everywhere."""

_KEY = re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_*.\-]{3,}")
_SHAPES = (
    *(("sk-", _KEY), ("pk-", _KEY), ("rk-", _KEY)),
    ("aiza", re.compile(r"\bAIza[A-Za-z0-9_\-]{10,}")),
    ("bearer", re.compile(r"(?i)\bbearer\s+[A-Za-z0-9_.~+/=\-]{8,}")),
    ("key=", re.compile(r"(?i)(?<=[?&]key=)[^&\s\"']+")),
    ("x-api-key: ", re.compile(r"(?i)(?<=x-api-key: )\S+")),
    ("://", re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")),
)
"""Shapes of secrets, each after what a text has in lower case where it may be: a look that costs little."""


def make_redactor(environment: Mapping[str, str]) -> Callable[[str], str]:
    """A function that replaces secrets in a text.

    Secrets are the values of variables named `…_API_KEY`, `…_KEY`, `…_TOKEN`, `…_PASSWORD` or `…_SECRET`,
    the passwords of URLs among the values, and whatever looks like a key (`sk-…`, `Bearer …`).
    """
    secrets = sorted(_secrets(environment), key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        lower = text.lower()
        for mark, shape in _SHAPES:
            if mark in lower:
                text = shape.sub(REDACTED, text)
        return text

    return redact


def _secrets(environment: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for name, value in environment.items():
        if _SECRET_NAME.search(name.upper()):
            found.add(value)
        elif "://" in value and (password := _password(value)):
            found.update((password, unquote(password)))
    return {secret for secret in found if len(secret) >= _SHORTEST_SECRET}


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:  # some other text with :// in it
        return None
