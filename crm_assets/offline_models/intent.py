"""The intent of a user's words, recognized by whole phrases, not by single words.

The teacher compares calls with it, the learner records it for the student. It depends on the words alone:
neither model knows the expected call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from crm_assets.offline_models.text import ENTITIES, PLURALS, SINGULARS, mask, mentions, without_quotations
from crm_assets.offline_models.tools import words_of

__all__ = ["Intent", "fitting_tool", "tool_action", "understand"]

_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("prefixes", ("prefixes",)),
    ("delete", ("delete", "remove", "drop", "get rid", "take…out", "erase")),
    ("cancel", ("cancel", "withdraw", "call off")),
    ("clone", ("clone", "duplicate", "copy", "just like")),
    ("note", ("write…down", "a note", "following note", "note on", "note that")),
    ("upload", ("attach", "upload", "store", "the document", "the file")),
    ("summarize", ("summarize", "summary", "totals", "how much is in")),
    ("totals", ("add up", "come to", "in total", "break down", "the total")),
    ("compare", ("compare", "side by side", "next to each other")),
    ("create", ("create", "register", "onboard", "record it", "set up", "draw up", "write up", "prepare")),
    ("create", ("open a", "we need a", "i want a", "new client", "add", "log", "put…on file", "mark it")),
    ("modify", ("update", "modify", "change", "changed", "set the", "fill in", "put…at a")),
    ("search", ("show me all", "show me every", "which…have", "which…called", "list", "find", "search")),
    ("search", ("look up", "look for", "pull…list", "do we have", "is there", "one of the", "i need the")),
    ("search", ("client record", "everything we hold")),
    ("view", ("show me", "details", "status of", "full picture", "how are we", "see", "does…say", "open")),
    ("view", ("which amount", "pull up")),
)
"""(action, phrases for it), the surer signs first; `…` stands for words between."""

_NAMED: Mapping[str, frozenset[str]] = {
    "prefixes": frozenset({"prefix"}),
    "note": frozenset({"note"}),
    "totals": frozenset({"compare", "detail"}),
    "view": frozenset({"detail"}),
}
"""The words in a tool's name that show its action, if they differ from the action's own word."""

_ONE_TOOL = frozenset({"note", "upload", "totals", "compare", "summarize", "prefixes"})
"""Actions that one tool does for all entities."""

_ALSO = {"deal": "opportunity", "pipeline": "opportunity", "account": "client", "counterpart": "contact"}
_IRREGULAR = [plural for singular, plural in PLURALS.items() if plural != f"{singular}s"]
_ENTITY = re.compile(r"\b(" + "|".join([*(set(ENTITIES) - {"note"}), *_ALSO, *_IRREGULAR]) + r")s?\b")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z]\w+(?: (?:of )?\(?[A-Z]\w+\)?)+")


@dataclass(frozen=True)
class Intent:
    """The apparent intent of a user."""

    action: str
    entity: str | None
    """The entity; None if the action alone identifies the tool."""
    cue: str
    """Regular expression that matches the words it was recognized by."""

    @property
    def words(self) -> str:
        """Return it in words, such as `modify client`."""
        verb = {"note": "add a note", "upload": "upload a document", "totals": "compare quote details"}
        plain = verb.get(self.action, self.action)
        return plain if self.entity is None or self.action in verb else f"{plain} {self.entity}"


@lru_cache(maxsize=4096)
def understand(utterance: str) -> Intent | None:
    """Return the apparent intent of an utterance; None if no phrase is known."""
    text = _NAME.sub("", without_quotations(mask(utterance, mentions(utterance)))).lower()
    for (action, phrases), pattern in zip(_PHRASES, _patterns(), strict=True):
        match = pattern.search(text)
        if match is None:
            continue
        word = _entity(text, match.start())
        if word is None and action not in _ONE_TOOL:
            continue
        entity = None if action in _ONE_TOOL else _singular(word or "")
        return Intent(action, entity, _cue(phrases[(match.lastindex or 1) - 1], word, text))
    return None


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each row of phrases, with a group for each phrase."""
    rows = ("|".join(f"({_gapped(phrase)})" for phrase in phrases) for _, phrases in _PHRASES)
    return tuple(re.compile(rf"\b(?:{row})\b") for row in rows)


def _gapped(phrase: str) -> str:
    return re.escape(phrase).replace("…", r"\b.*?\b")


def _cue(phrase: str, word: str | None, text: str) -> str:
    """Return the shortest pattern of phrase and entity that matches `text`."""
    plain = phrase.replace("…", ".*")
    stem = (word or "").removesuffix("ies").removesuffix("y")
    if not stem or stem in phrase:
        return plain
    return next((cue for cue in (f"{plain}.*{stem}", f"{stem}.*{plain}") if re.search(cue, text)), plain)


def _entity(text: str, start: int) -> str | None:
    """Return the entity that is named first from the verb on, else the first of all; None if none is."""
    found = _ENTITY.search(text, start) or _ENTITY.search(text)
    return found.group(1) if found else None


def _singular(word: str) -> str:
    return _ALSO.get(word, SINGULARS.get(word, word))


def fitting_tool(intent: Intent, names: Iterable[str]) -> str | None:
    """Return the first of the tools whose name fits the intent; None if none does."""
    wanted = _NAMED.get(intent.action, frozenset({intent.action}))
    for name in names:
        words = frozenset(words_of(name.replace("_", " ")))
        if tool_action(name) != intent.action or not wanted <= words:
            continue
        if intent.entity is None or intent.entity in words:
            return name
    return None


@cache
def tool_action(name: str) -> str | None:
    """Return a tool's action by the words of its name; None if it is unknown."""
    words = frozenset(words_of(name.replace("_", " ")))
    for action in ("prefixes", "note", "totals", "view"):
        if _NAMED[action] <= words:
            return action
    plain = ("delete", "cancel", "clone", "upload", "compare", "summarize", "create", "modify", "search")
    return next((action for action in plain if action in words), None)
