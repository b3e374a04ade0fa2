"""The tools of a request, prepared once per list of tools."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import orjson

from crm_assets.offline_models.requests import Document, count_tokens
from crm_assets.offline_models.text import SINGULARS

__all__ = ["KnownTool", "Toolbox", "stem", "toolbox", "words_of"]

_WORD = re.compile(r"[a-z]+")
_IRREGULAR = {**SINGULARS, "status": "status", "is": "is"}
_COMMON_WORDS = (
    "a an the of for to in on with and or by as it its is are be that this each every given all else case "
    "several unless has have part"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_SHORT = 3


def stem(word: str) -> str:
    """Return the singular of a lower-case word."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("xes"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > _SHORT else word


def words_of(text: str) -> list[str]:
    """Return the meaningful words of `text` in order, lower-case and in the singular."""
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


@dataclass(frozen=True)
class KnownTool:
    """One tool as the models see it."""

    name: str
    description: str
    properties: Mapping[str, Document]
    """{argument: JSON Schema}, without arguments that are objects."""
    required: tuple[str, ...]

    @cached_property
    def name_words(self) -> frozenset[str]:
        """Return the words of its name."""
        return frozenset(words_of(self.name.replace("_", " ")))

    @cached_property
    def description_words(self) -> frozenset[str]:
        """Return the words of its description's first sentence."""
        return frozenset(words_of(re.split(r"[.:;]", self.description, maxsplit=1)[0]))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Return the required arguments that are IDs."""
        return tuple(name for name in self.required if self.properties[name].get("format") == "uuid")

    @cached_property
    def id_list(self) -> str | None:
        """Return the required argument that is a list of IDs; None if there is none."""
        for name in self.required:
            schema = self.properties[name]
            if schema.get("type") == "array" and schema.get("items", {}).get("format") == "uuid":
                return name
        return None


@dataclass(frozen=True)
class Toolbox:
    """A list of tools, and the weights of their words."""

    tools: tuple[KnownTool, ...]
    tokens: int
    """Tokens of the list in a prompt."""

    @cached_property
    def by_name(self) -> Mapping[str, KnownTool]:
        """Return the tools by name."""
        return {tool.name: tool for tool in self.tools}

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """Return {word: ln(1 + tools ÷ tools with the word)}, the inverse document frequency."""
        counts = Counter(word for tool in self.tools for word in tool.name_words | tool.description_words)
        return {word: math.log(1 + len(self.tools) / count) for word, count in counts.items()}


def toolbox(documents: Sequence[Document]) -> Toolbox:
    """Return the prepared tools of a request; equal lists are prepared once."""
    return _prepared(orjson.dumps(documents if isinstance(documents, list) else list(documents)))


@lru_cache(maxsize=16)
def _prepared(documents: bytes) -> Toolbox:
    functions = [document.get("function", document) for document in orjson.loads(documents)]
    tokens = count_tokens(documents.decode()) if functions else 0
    return Toolbox(tuple(_known(function) for function in functions), tokens)


def _known(function: Document) -> KnownTool:
    schema = function.get("parameters") or {}
    properties = {
        name: part for name, part in schema.get("properties", {}).items() if part.get("type") != "object"
    }
    required = tuple(name for name in schema.get("required", ()) if name in properties)
    return KnownTool(function["name"], function.get("description") or "", properties, required)
