"""Fills a tool's arguments from the user's text, by the tool's JSON Schema.

First labeled values ("close date 2037-01-01"), then IDs by the entity before them, then the other values
by their kind. Earlier messages provide IDs only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crm_assets.offline_models.requests import Document
from crm_assets.offline_models.text import ENTITIES, Mention, entity_before, mask, mentions
from crm_assets.offline_models.tools import KnownTool

__all__ = ["fill_arguments"]

Arguments = dict[str, Any]
"""JSON values by argument."""

_LINK = r"(?:\s+(?:is|to|as|of|at|should|be|read|reads|the|exactly))*\s*[:=]?\s*"
_NAMES = re.compile(r"\b[A-Z][\w'-]+(?: (?:of [A-Z]|[A-Z(])[\w'()-]+)+")


@dataclass
class _Filling:
    """A call in the making."""

    tool: KnownTool
    text: str
    found: list[Mention]
    masked: str
    arguments: Arguments = field(default_factory=dict)
    used: list[tuple[int, int]] = field(default_factory=list)
    """Stretches of the text that are already used, as (start, end)."""
    places: dict[str, int] = field(default_factory=dict)
    """{argument: position of its value in the text}."""

    def open(self, kind: str | None = None) -> list[str]:
        """Return the arguments without a value, in the schema's order; of one kind if given."""
        return [
            name
            for name, schema in self.tool.properties.items()
            if name not in self.arguments and (kind is None or _kind(schema) == kind)
        ]

    def free(self, *kinds: str) -> list[Mention]:
        """Return the values of these kinds that are not used yet."""
        return [mention for mention in self.found if mention.kind in kinds and not self.taken(mention)]

    def taken(self, mention: Mention) -> bool:
        """Return True if the value is used already."""
        return any(start < mention.end and mention.start < end for start, end in self.used)

    def give(self, name: str, value: Any, start: int, end: int) -> None:
        """Use a stretch of the text as an argument."""
        self.arguments[name] = value
        self.used.append((start, end))
        self.places[name] = start

    def call(self) -> Arguments:
        """Return the arguments in the order of the text."""
        places = {name: self.places.get(name, -1) for name in self.arguments}
        return {name: self.arguments[name] for name in sorted(places, key=places.__getitem__)}


def fill_arguments(
    tool: KnownTool,
    utterance: str,
    *,
    earlier: Sequence[Document] = (),
    placements: Sequence[tuple[str, str]] = (),
    lacking: Sequence[str] = (),
) -> Arguments:
    """Return the arguments for `tool` that can be found.

    Args:
        tool: the tool to call.
        utterance: the user's text.
        earlier: rows in the chat, the latest first; they provide required IDs that the text lacks.
        placements: (words, argument for the value that follows them).
        lacking: values that the call must contain.
    """
    found = mentions(utterance)
    filling = _Filling(tool, utterance, found, mask(utterance, found))
    _place(filling, placements)
    _labeled(filling)
    _identifiers(filling)
    _by_kind(filling)
    _by_choice(filling)
    _texts(filling)
    _missing(filling, lacking)
    for name in tool.ids:
        value = next((row[name] for row in earlier if row.get(name)), None)
        if name not in filling.arguments and value is not None:
            filling.arguments[name] = value
    return filling.call()


def _kind(schema: Document) -> str:
    """Return the kind of a schema's values in a text."""
    if "enum" in schema:
        return "choice"
    if schema.get("type") in ("number", "integer"):
        return "number"
    if schema.get("type") == "array":
        return "uuids" if schema.get("items", {}).get("format") == "uuid" else "texts"
    return {"uuid": "uuid", "email": "email", "date": "date", "date-time": "moment"}.get(
        str(schema.get("format")), "text"
    )


def _place(filling: _Filling, placements: Sequence[tuple[str, str]]) -> None:
    """Fill the arguments that the prompt's advice places."""
    for words, name in placements:
        at = filling.text.lower().find(words.lower())
        if at >= 0 and name in filling.tool.properties and name not in filling.arguments:
            _take(filling, name, at + len(words))


def _labeled(filling: _Filling) -> None:
    """Fill arguments whose name precedes their value, longest names first."""
    for name in sorted(filling.tool.properties, key=len, reverse=True):
        label = name.replace("_", " ")
        for match in re.finditer(rf"(?<![\w-]){re.escape(label)}\b", filling.masked, re.IGNORECASE):
            if name not in filling.arguments and not _within(filling.used, match.start()):
                _take(filling, name, match.end())


def _within(stretches: list[tuple[int, int]], position: int) -> bool:
    return any(start <= position < end for start, end in stretches)


_LINKED = re.compile(_LINK)
_DISTANT = re.compile(r"\s+of\b[^.;:]*?\bto\s+")  # the stage of something to …


def _take(filling: _Filling, name: str, end: int) -> None:
    """Use the text at `end`, after linking words, if it can be a value of the argument."""
    linked = _DISTANT.match(filling.text, end) or _LINKED.match(filling.text, end)
    start = linked.end() if linked else end
    kind = _kind(filling.tool.properties[name])
    mention = next((one for one in filling.found if one.start == start and not filling.taken(one)), None)
    if kind in ("number", "uuid", "date", "email"):
        if mention is not None and mention.kind in (kind, "quoted"):
            value = mention.number if mention.kind == kind == "number" else mention.text
            filling.give(name, value, start, mention.end)
    elif kind == "choice":
        _take_choice(filling, name, start, mention)
    elif mention is not None and mention.kind not in ("uuid", "number"):
        filling.give(name, mention.text, start, mention.end)
    elif kind == "text":
        phrase = _phrase(filling, start)
        if phrase:
            filling.give(name, phrase, start, start + len(phrase))


def _take_choice(filling: _Filling, name: str, start: int, mention: Mention | None) -> None:
    if mention is not None and mention.kind == "quoted":
        filling.give(name, mention.text, start, mention.end)
        return
    for value in filling.tool.properties[name]["enum"]:
        if filling.text.startswith(value, start):
            filling.give(name, value, start, start + len(value))
            return


def _phrase(filling: _Filling, start: int) -> str:
    """Return the words from `start` to the next clause; empty if they do not look like a value."""
    labels = "|".join(
        re.escape(name.replace("_", " ")) for name in sorted(filling.tool.properties, key=len, reverse=True)
    )
    entities = "|".join(ENTITIES)
    stop = re.compile(
        rf",? and (?:the )?(?:{labels})\b|, (?:with |the )?(?:{labels})\b|[;?!]|\.(?=\s|$)|, please"
        rf"| (?:on|for|of|with) (?:{entities})\b|$",
        re.IGNORECASE,
    )
    match = stop.search(filling.text, start)
    phrase = filling.text[start : match.start() if match else None].strip(' "')
    # A value begins like a name or a number; other words continue the sentence.
    return phrase if phrase[:1].isupper() or phrase[:1].isdigit() or phrase[:1] == "+" else ""


def _identifiers(filling: _Filling) -> None:
    """Fill IDs by the entity that is named before each."""
    listing = filling.open("uuids")
    ids = filling.free("uuid")
    if listing and ids:
        filling.give(listing[0], [one.text for one in ids], ids[0].start, ids[0].end)
        filling.used += [(one.start, one.end) for one in ids]
        return
    for one in ids:
        entity = entity_before(filling.masked, one.start)
        open_ids = filling.open("uuid")
        if entity and f"{entity}_id" in open_ids:
            filling.give(f"{entity}_id", one.text, one.start, one.end)
        elif entity and "entity_id" in open_ids:
            filling.give("entity_id", one.text, one.start, one.end)
            kinds = filling.tool.properties.get("entity_type", {}).get("enum", ())
            if entity.capitalize() in kinds:
                filling.arguments["entity_type"] = entity.capitalize()
    for one, name in zip(
        filling.free("uuid"),
        [name for name in filling.open("uuid") if name in filling.tool.ids],
        strict=False,
    ):
        filling.give(name, one.text, one.start, one.end)


def _by_kind(filling: _Filling) -> None:
    """Fill emails, dates, amounts and files without a label, if only one argument can take them."""
    for kind in ("email", "date", "number"):
        for one in filling.free(kind):
            names = filling.open(kind)
            wanted = [name for name in names if name in filling.tool.required] or names
            if len(wanted) == 1 or (wanted and kind == "number" and one.text.startswith("$")):
                filling.give(wanted[0], one.number if kind == "number" else one.text, one.start, one.end)
    for kind, ending in (("file", "file_name"), ("url", "url")):
        for one in filling.free(kind):
            names = [name for name in filling.open("text") if name.endswith(ending)]
            if names:
                filling.give(names[0], one.text, one.start, one.end)


def _by_choice(filling: _Filling) -> None:
    """Fill required arguments with the values of their enumerations that the text contains."""
    for name in filling.open("choice"):
        if name not in filling.tool.required:
            continue
        for value in filling.tool.properties[name]["enum"]:
            match = re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", filling.masked)
            if match:
                filling.give(name, value, *match.span())
                break


def _texts(filling: _Filling) -> None:
    """Fill required texts with quotations and names; a quoted name for a search by name."""
    wanted = [name for name in filling.open("text") if name in filling.tool.required]
    if not filling.tool.required:
        wanted = [name for name in filling.open("text") if name == "name" and not filling.arguments]
    quoted = filling.free("quoted")
    for name, one in zip([name for name in wanted if not name.endswith("_name")], quoted, strict=False):
        filling.give(name, one.text, one.start, one.end)
    if quoted and "file_name" in wanted:
        filling.give("file_name", quoted[0].text, quoted[0].start, quoted[0].end)
    names = [match for match in _NAMES.finditer(filling.masked) if not _within(filling.used, match.start())]
    wanted = [name for name in wanted if name not in filling.arguments]
    if not names:
        return
    if "first_name" in wanted and "last_name" in wanted:
        given, _, family = _person(names).partition(" ")
        filling.arguments.update(first_name=given, last_name=family)
    elif "name" in wanted:
        filling.arguments["name"] = _person(names)


_OPENING_WORDS = "add create register new please put open can we modify update client the"
_OPENERS = frozenset(_OPENING_WORDS.split())


def _person(names: Sequence[re.Match[str]]) -> str:
    """Return the first of the names, without the sentence's opening words."""
    for match in names:
        parts = match.group().split()
        while parts and parts[0].lower() in _OPENERS:
            parts = parts[1:]
        if len(parts) > 1:
            return " ".join(parts)
    return names[0].group()


def _missing(filling: _Filling, lacking: Sequence[str]) -> None:
    """Put the values that the teacher misses into the first argument of their kind."""
    for text in lacking:
        for one in mentions(text):
            names = filling.open(one.kind) or filling.open("text")
            if names:
                filling.arguments[names[0]] = one.number if one.kind == "number" else one.text
