"""Match the cues of entries with user turns."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from crm_assets.atlas.playbook.learning_state import Cue
from crm_assets.atlas.playbook.regex_safety import LONGEST_TEXT, regex_problem

__all__ = ["cue_matches", "cue_problem"]

_SEPARATORS = re.compile(r"[,|]")
_INFLECTED = 4
"""From this length on a keyword also matches words that start with it: update, updated."""

_TIMEOUT_SECONDS = 0.1


def cue_problem(kind: str, pattern: str) -> str | None:
    """Return why a cue of type `kind` is unusable, as the end of a sentence; None if it is usable."""
    if not pattern.strip():
        return "it has no pattern"
    if kind == "regex":
        return regex_problem(pattern)
    if kind == "keyword" and _keywords(pattern) is None:
        return "it has no keyword"
    return None


def cue_matches(cue: Cue, text: str) -> bool:
    """Return True if `cue` matches `text`, ignoring case.

    A keyword cue matches if `text` contains one of its keywords (separated by commas or bars) as a word, a
    regex cue if its pattern is found in the first `LONGEST_TEXT` characters. Entries may come from other
    programs, so a pattern that the gates would reject is never tried. A predicate is for models to judge
    and never matches.
    """
    if cue.type == "keyword":
        keywords = _keywords(cue.pattern)
        return keywords is not None and keywords.search(text) is not None
    if cue.type == "regex":
        pattern = _regex(cue.pattern)
        return pattern is not None and _found(pattern, text[:LONGEST_TEXT])
    return False


def _found(pattern: Any, text: str) -> bool:
    try:
        return pattern.search(text, timeout=_TIMEOUT_SECONDS) is not None
    except TimeoutError:
        return False  # a second guard behind `regex_problem`


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> Any:
    """Compile a pattern for a matcher with a timeout; return None if it must not be used."""
    import regex  # type: ignore[import-untyped]  # noqa: PLC0415  (40 ms)

    if regex_problem(pattern) is not None:
        return None
    try:
        return regex.compile(pattern, regex.IGNORECASE)
    except regex.error:
        return None


@lru_cache(maxsize=4096)
def _keywords(pattern: str) -> re.Pattern[str] | None:
    words = [keyword.split() for keyword in _SEPARATORS.split(pattern)]
    choices = []
    for parts in filter(None, words):
        escaped = r"\s+".join(re.escape(part) for part in parts)
        choices.append(escaped if len(parts[-1]) >= _INFLECTED else rf"{escaped}(?!\w)")
    return re.compile(rf"(?<!\w)(?:{'|'.join(choices)})", re.IGNORECASE) if choices else None
