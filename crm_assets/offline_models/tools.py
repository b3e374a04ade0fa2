"""The tools of a request, prepared once for each list of tools."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import orjson

from crm_assets.offline_models.requests import ToolDocument, count_tokens

__all__ = ["KnownTool", "Toolbox", "stem", "toolbox", "words_of"]

_WORD = re.compile(r"[a-z]+")
_IRREGULAR = {"companies": "company", "opportunities": "opportunity", "status": "status", "is": "is"}
_COMMON_WORDS = (
    "a an the of for to in on with and or by as it its is are be that this each every given all else case "
    "several unless has have part"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_SHORT = 3


def stem(word: str) -> str:
    """A lower-case word without its plural."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("xes"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORT else word


_SHORT = 3


def words_of(text: str) -> list[str]:
    """The words of `text` that carry meaning, lower case and without plurals, in order."""
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


@dataclass(frozen=True)
class KnownTool:
    """One tool as the models see it."""

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    """Arguments that hold a value; those that are objects of their own are left out."""
    required: tuple[str, ...]

    @cached_property
    def name_words(self) -> frozenset[str]:
        """The words that its name is made of."""
        return frozenset(words_of(self.name.replace("_", " ")))

    @cached_property
    def description_words(self) -> frozenset[str]:
        """The words of its description's first sentence."""
        return frozenset(words_of(re.split(r"[.:;]", self.description, maxsplit=1)[0]))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Required arguments that hold an ID."""
        return tuple(name for name in self.required if self.properties[name].get("format") == "uuid")

    @cached_property
    def id_list(self) -> str | None:
        """The required argument that holds a list of IDs."""
        for name in self.required:
            schema = self.properties[name]
            if schema.get("type") == "array" and schema.get("items", {}).get("format") == "uuid":
                return name
        return None


@dataclass(frozen=True)
class Toolbox:
    """A list of tools, and what telling them apart takes."""

    tools: tuple[KnownTool, ...]
    tokens: int
    """That the list costs in a prompt."""

    @cached_property
    def by_name(self) -> Mapping[str, KnownTool]:
        """The tools by name."""
        return {tool.name: tool for tool in self.tools}

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """How much a word tells: ln(1 + tools ÷ tools with the word), the inverse document frequency."""
        counts = Counter(word for tool in self.tools for word in tool.name_words | tool.description_words)
        return {word: math.log(1 + len(self.tools) / count) for word, count in counts.items()}


def toolbox(documents: Sequence[ToolDocument]) -> Toolbox:
    """The prepared tools of a request; an equal list is prepared once."""
    return _prepared(orjson.dumps(documents if isinstance(documents, list) else list(documents)))


@lru_cache(maxsize=16)
def _prepared(documents: bytes) -> Toolbox:
    functions = [document.get("function", document) for document in orjson.loads(documents)]
    tokens = count_tokens(documents.decode()) if functions else 0
    return Toolbox(tuple(_known(function) for function in functions), tokens)


def _known(function: Mapping[str, Any]) -> KnownTool:
    schema = function.get("parameters") or {}
    properties = {
        name: part for name, part in schema.get("properties", {}).items() if part.get("type") != "object"
    }
    required = tuple(name for name in schema.get("required", ()) if name in properties)
    return KnownTool(function["name"], function.get("description") or "", properties, required)
