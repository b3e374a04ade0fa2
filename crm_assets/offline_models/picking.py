"""Picks the tool whose name and description share most with the user's words.

A bag of words, weighted by inverse document frequency; the first words weigh most. It knows few synonyms
of the tools' words, and no phrases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crm_assets.offline_models.text import mask, mentions, without_quotations
from crm_assets.offline_models.tools import KnownTool, Toolbox, words_of

__all__ = ["pick_tool"]

_MEANS: Mapping[str, str] = {
    "change": "modify",
    "update": "modify",
    "set": "modify",
    "find": "search",
    "look": "search",
    "which": "search",
    "list": "search",
    "show": "detail",
    "remove": "delete",
    "new": "create",
    "summary": "summarize",
    "attach": "upload",
    "deal": "opportunity",
    "pipeline": "opportunity",
    "detail": "detail",
}
"""Synonyms of the tools' words."""

_NAME = 2.0  # a word in the name counts more than one in the description
_FADE = 0.96  # per word, from the first on
_LEAST = 1.5  # below, no tool fits
_MISFIT = 2.5  # for a tool that needs more IDs than were given, or fewer
_LEAD_IN = re.compile(r"^(?:[A-Z][\w ,]{0,24}[.!:]\s+)(?=[A-Z])")


def pick_tool(tools: Toolbox, utterance: str) -> KnownTool | None:
    """Return the tool that fits best, the earlier one of equals; None if none fits."""
    found = mentions(utterance)
    ids = sum(mention.kind == "uuid" for mention in found)
    words = _meant(_LEAD_IN.sub("", without_quotations(mask(utterance, found))))
    best, highest = None, _LEAST
    for tool in tools.tools:
        score = _overlap(tools, tool, words) - _misfit(tool, ids)
        if score > highest:
            best, highest = tool, score
    return best


def _meant(text: str) -> list[str]:
    """Return the words of `text` in the tools' vocabulary, each once."""
    return list(dict.fromkeys(_MEANS.get(word, word) for word in words_of(text)))


def _overlap(tools: Toolbox, tool: KnownTool, words: list[str]) -> float:
    score = 0.0
    for position, word in enumerate(words):
        if word in tool.name_words:
            score += _NAME * tools.weights[word] * _FADE**position
        elif word in tool.description_words:
            score += tools.weights[word] * _FADE**position
    return score


def _misfit(tool: KnownTool, ids: int) -> float:
    if tool.id_list is not None:
        return 0.0 if ids > 1 else _MISFIT
    return _MISFIT if len(tool.ids) > ids else 0.0
