"""Reads prompts as a model has to: marked blocks, advice in them, JSON beside the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from crm_assets.offline_models.sdk_prompts import read_sdk_document

__all__ = ["Advice", "advice_for", "block", "read_json_block", "said"]

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n```", re.DOTALL)
_ENTRY = re.compile(r"^\s*[-*]\s*When\s+«(?P<cue>.+?)»\s*[:,]?\s*(?P<imperative>.*)$")
_HANDLE = re.compile(r"\[tool:\s*([\w.-]+)\s*\]")
_TURN = re.compile(r"\bTurn (\d+):\s*(.*?)(?=\s*\bTurn \d+:|\Z)", re.DOTALL)
_AFTER = re.compile(r'after ["“«\']([^"”»\']+)["”»\'] (?:in|into|as) `?(\w+)`?')
_LACKS = re.compile(r'lacks ["“]([^"”]+)["”]')
_SIGNS = re.compile(r"[\\.*+?\[\](){}^$]")
_LONGEST = 2_000
"""Characters of what a user says that cues are held against."""


@dataclass(frozen=True)
class Advice:
    """What a prompt says of the turn at hand."""

    tools: tuple[str, ...] = ()
    """Names that it gives for the tool, the closest cue first."""
    wants: str | None = None
    """In words, what the user wants, where no tool is named."""
    placements: tuple[tuple[str, str], ...] = ()
    """Words of the user, and the argument that what follows them goes into."""
    lacking: tuple[str, ...] = ()
    """Values that the call must hold."""


def read_json_block(prompt: str) -> dict[str, Any]:
    """The first JSON object in a fence, else what the SDK asks about; nothing where there is neither."""
    for match in _FENCE.finditer(prompt):
        try:
            document = orjson.loads(match.group(1))
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            return document
    return read_sdk_document(prompt)


def block(prompt: str, name: str) -> str:
    """What stands between `>>> name >>>` and `>>> End name >>>`; nothing where there is no such block."""
    _, found, rest = prompt.partition(f">>> {name} >>>")
    return rest.partition(f">>> End {name} >>>")[0] if found else ""


@lru_cache(maxsize=256)
def _entries(prompt: str) -> tuple[tuple[str, str], ...]:
    """Cues and what to do at them, in the order of the playbook."""
    lines = block(prompt, "Student Playbook").splitlines()
    matches = (_ENTRY.match(line) for line in lines)
    return tuple((match["cue"], match["imperative"]) for match in matches if match)


@lru_cache(maxsize=256)
def _guidance(prompt: str) -> Mapping[int, str]:
    return {int(turn): text for turn, text in _TURN.findall(block(prompt, "Teacher Guidance"))}


def advice_for(prompt: str, utterance: str, turn: int) -> Advice:
    """What `prompt` says of what the user says in this turn, the teacher's word before the playbook's."""
    hits = []
    for cue, imperative in _entries(prompt):
        matched = _matched(cue, utterance)
        if matched:
            hits.append((matched, imperative))
    hits.sort(key=lambda hit: -hit[0])  # stable: the playbook's order among equals
    guidance = _guidance(prompt).get(turn)
    texts = ([guidance] if guidance else []) + [imperative for _, imperative in hits]
    named = tuple(name for text in texts for name in _HANDLE.findall(text) if not _AFTER.search(text))
    placements = tuple(pair for text in texts for pair in _AFTER.findall(text))
    lacking = tuple(_LACKS.findall(guidance)) if guidance else ()
    wants = guidance if guidance and not lacking and not _HANDLE.search(guidance) else None
    return Advice(named, wants, placements, lacking)


def _matched(cue: str, utterance: str) -> int:
    """How many characters of what was said the cue matches; 0 for no match.

    A cue without any sign of a regular expression is keywords, between commas or bars.
    """
    text = utterance[:_LONGEST]
    if _SIGNS.search(cue):
        try:
            match = _compiled(cue).search(text)
            return len(match.group()) if match else 0
        except re.error:
            pass  # words, then
    lower = text.lower()
    words = [word.strip().lower() for word in re.split(r"[,|]", cue)]
    return max((len(word) for word in words if word and word in lower), default=0)


@lru_cache(maxsize=1024)
def _compiled(cue: str) -> re.Pattern[str]:
    return re.compile(cue, re.IGNORECASE)


_QUOTED = re.compile(r'"[^"]*"')


def said(utterance: str) -> str:
    """What the user says without what is quoted."""
    return _QUOTED.sub('""', utterance)
