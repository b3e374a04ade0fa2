"""Find details that tie a learned text to a single case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from crm_assets.conversations.patterns import UUID

__all__ = ["particulars"]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_FILE_TYPES = "pdf|docx?|xlsx?|pptx?|csv|tsv|txt|md|json|xml|html?|png|jpe?g|gif|zip|eml|log|py"

_PARTICULARS = (
    ("an ID", UUID),
    ("an e-mail address", re.compile(r"[\w.+-]{1,64}@[\w-]+\.\w")),
    (
        "a date",
        re.compile(
            r"\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b"
            rf"|\b{_MONTH}\s+\d{{1,4}}(?:st|nd|rd|th)?\b|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?!\w)",
            re.IGNORECASE,
        ),
    ),
    (
        "a file path",
        re.compile(
            r"(?<![\w/)\]])(?:~|\.{1,2})?/[\w.-]+/[\w.-]+|~/\w|\b[A-Za-z]:\\|\b\w+://\S"
            rf"|\b\w[\w-]*\.(?:{_FILE_TYPES})\b",
            re.IGNORECASE,
        ),
    ),
    # Q-1042, case_17, #331, or hexadecimal digits that are not a word; not names of standards (ISO-8601).
    (
        "an ID",
        re.compile(
            r"\b(?!(?:ISO|RFC|UTF|SHA)[-_])[A-Za-z]{1,8}[-_#]\d{2,}\b|(?<!\w)#\d+\b"
            r"|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b",
            re.IGNORECASE,
        ),
    ),
    (
        "a case-specific number",
        re.compile(r"(?<![\w.])\d{1,3}(?:[,']\d{3})+(?![\w])|(?<!\d)\d{5,}(?!\d)|\+\d[\d ()-]{6,}\d"),
    ),
)


def particulars(text: str, banned: Sequence[str]) -> str | None:
    """Return the first case-specific detail in `text`: "a date (2031-04-05)"; None without one.

    Args:
        text: a learned text.
        banned: words that refer to a single case.
    """
    for name, pattern in _PARTICULARS:
        found = pattern.search(text)
        if found:
            return f"{name} ({found.group().strip()[:40]})"
    words = _any_of(tuple(banned))
    found = words.search(text) if words else None
    return f"the word “{found.group()}”" if found else None


@lru_cache(maxsize=64)
def _any_of(banned: tuple[str, ...]) -> re.Pattern[str] | None:
    words = [re.escape(word) for word in banned if word.strip()]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})s?(?!\w)", re.IGNORECASE) if words else None
