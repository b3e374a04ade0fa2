"""Rules that span fields: the order of turns, targets of references, storable texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import NamedTuple

import orjson

from crm_assets.conversations.conversation import Conversation, Turn
from crm_assets.conversations.patterns import NUL
from crm_assets.conversations.references import find_references

__all__ = ["MAX_DEPTH", "MAX_TEXT", "Problem", "document_problems", "structure_problems"]

MAX_TEXT = 1_000_000
"""Longest text in characters: far above any real note, far below the limits of memory and prompts."""

MAX_DEPTH = 100
"""Deepest nesting in levels: JSON writers and Python's stack fail at a few hundred."""

_NO_MARKS = bytes(set(range(256)) - set(b'{}[]"'))


class Problem(NamedTuple):
    """One problem of one conversation: the field's path, and a reason as the rest of a sentence."""

    field: str
    reason: str


def document_problems(document: object, line: bytes) -> Iterator[Problem]:
    """Yield what, anywhere in a line, cannot be stored or written: texts, nesting, and keys of one name.

    Args:
        document: the parsed line.
        line: its bytes, which rule out problems cheaply for most lines.
    """
    marks = line.translate(None, _NO_MARKS)
    brackets = marks.translate(None, b'"')
    has_escapes = b"\\u00" in line
    suspicious = (
        (has_escapes and b"\\u0000" in line) or len(line) > MAX_TEXT or _deepest(brackets) > MAX_DEPTH
    )
    if suspicious and not _is_harmless(document):
        yield from _value_problems(document)
        return
    # The parser keeps the last of several keys of one name: what it read has fewer quotes than the line.
    dumped = orjson.dumps(document)
    if dumped == line.rstrip() or (
        len(marks) - len(brackets) == dumped.count(b'"') and not (has_escapes and b"\\u0022" in line)
    ):
        return
    for name in dict.fromkeys(_repeated_keys(line)):
        yield Problem("", f"has the key {name[:80]!r} twice in one object; keep one of the two")


def _repeated_keys(line: bytes) -> list[str]:
    found: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names = Counter(name for name, _ in pairs)
        found.extend(name for name, count in names.items() if count > 1)

    json.loads(line, object_pairs_hook=note)
    return found


def _deepest(brackets: bytes) -> int:
    """Return an upper bound of the nesting of JSON that has these brackets."""
    removed = 0
    while removed <= MAX_DEPTH < removed + len(brackets):
        inner = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(inner) == len(brackets):
            break
        brackets, removed = inner, removed + 1  # the innermost level
    return removed + len(brackets)  # of what is left, brackets in texts, each may be a level


def _value_problems(document: object) -> Iterator[Problem]:
    pending: list[tuple[object, str, int]] = [(document, "", 0)]
    while pending:
        item, path, depth = pending.pop()
        if isinstance(item, str):
            yield from _text_problems(item, path)
        elif isinstance(item, (dict, list)):
            if depth >= MAX_DEPTH:
                yield Problem(path[:200], f"is nested deeper than {MAX_DEPTH} levels")
                continue
            if isinstance(item, dict):
                for key in item:
                    yield from _text_problems(key, f"{path} (a key)".strip())
            pending.extend((child, child_path, depth + 1) for child, child_path in _children(item, path))


def structure_problems(
    conversation: Conversation, known_tools: Collection[str] | None = None
) -> Iterator[Problem]:
    """Yield the contradictions between the fields of one conversation.

    Args:
        conversation: a conversation whose fields are of the right types.
        known_tools: names of the tools; None leaves `expected_tool` unchecked.
    """
    yield from _seed_problems(conversation.initial_entities.get("seed_data"))
    yield from _segment_problems(conversation)
    for index, turn in enumerate(conversation.turns):
        where = f"turns[{index}]"
        if turn.turn_id != index + 1:
            yield Problem(
                f"{where}.turn_id",
                f"is {turn.turn_id}; turns are numbered 1, 2, 3 …, and this one is number {index + 1}",
            )
        yield from _reference_problems(turn, index + 1, where)
        if known_tools is not None and turn.expect_success and turn.expected_tool not in known_tools:
            yield Problem(
                f"{where}.expected_tool",
                f"'{turn.expected_tool[:80]}' is not a CRM tool, but the turn expects success",
            )


def _reference_problems(turn: Turn, number: int, where: str) -> Iterator[Problem]:
    for name, value in (
        ("user_utterance", turn.user_utterance),
        ("expected_args", turn.expected_args),
    ):
        for reference in find_references(value):
            if not 1 <= reference.turn < number:
                yield Problem(f"{where}.{name}", f"{reference} does not name an earlier turn")
    for earlier in turn.references_previous_turns:
        if not 1 <= earlier < number:
            yield Problem(
                f"{where}.references_previous_turns", f"{earlier} is not the number of an earlier turn"
            )


def _segment_problems(conversation: Conversation) -> Iterator[Problem]:
    boundaries = conversation.segment_boundaries or []
    ascending = all(a < b for a, b in pairwise(boundaries))
    if boundaries and not (ascending and boundaries[0] >= 1 and boundaries[-1] <= len(conversation.turns)):
        yield Problem(
            "segment_boundaries",
            f"must be ascending turn numbers between 1 and {len(conversation.turns)}",
        )


def _seed_problems(seeds: object) -> Iterator[Problem]:
    root = "initial_entities.seed_data"
    if seeds is None:
        return
    if not isinstance(seeds, dict):
        yield Problem(root, "must be an object of {entity: {id: fields}}")
        return
    for entity, rows in seeds.items():
        if rows is not None and not isinstance(rows, dict):
            yield Problem(f"{root}.{entity[:80]}", "must be an object of {id: fields}")
            continue
        for row_id, fields in (rows or {}).items():
            if not isinstance(fields, dict):
                yield Problem(f"{root}.{entity[:80]}.{row_id[:80]}", "must be an object of fields")


def _is_harmless(document: object) -> bool:
    # Covers most long lines without building a path for every value.
    level, depth = [document], 0
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                if len(item) > MAX_TEXT or NUL in item:
                    return False
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        depth += 1
        if depth > MAX_DEPTH + 1:
            return False
        level = below
    return True


def _children(item: dict[str, object] | list[object], path: str) -> Iterator[tuple[object, str]]:
    if isinstance(item, list):
        for index, child in enumerate(item):
            yield child, f"{path}[{index}]"
    else:
        for key, child in item.items():
            yield child, f"{path}.{key[:80]}" if path else key[:80]


def _text_problems(text: str, path: str) -> Iterator[Problem]:
    if NUL in text:
        yield Problem(path, "contains a NUL character, which Postgres cannot store; remove it")
    if len(text) > MAX_TEXT:
        yield Problem(path, f"is {len(text):,} characters long; the limit is {MAX_TEXT:,}")
