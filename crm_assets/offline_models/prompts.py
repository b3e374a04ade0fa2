"""Reads prompts: marked blocks, the advice in them, JSON beside the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson

from crm_assets.offline_models.requests import Document
from crm_assets.offline_models.sdk_prompts import read_sdk_document

__all__ = ["Advice", "advice_for", "block", "read_json_block"]

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n```", re.DOTALL)
_ENTRY = re.compile(r"^\s*[-*]\s*When\s+«(?P<cue>.+?)»\s*[:,]?\s*(?P<imperative>.*)$")
_HANDLE = re.compile(r"\[tool:\s*([\w.-]+)\s*\]")
_TURN = re.compile(r"\bTurn (\d+):\s*(.*?)(?=\s*\bTurn \d+:|\Z)", re.DOTALL)
_AFTER = re.compile(r'after ["“«\']([^"”»\']+)["”»\'] (?:in|into|as) `?(\w+)`?')
_LACKS = re.compile(r'lacks ["“]([^"”]+)["”]')
_SIGNS = re.compile(r"[\\.*+?\[\](){}^$]")
_LONGEST = 2_000
"""Characters of an utterance that cues are matched with."""


@dataclass(frozen=True)
class Advice:
    """A prompt's advice for the current turn."""

    tools: tuple[str, ...] = ()
    """Names of tools, the longest match of a cue first."""
    wants: str | None = None
    """The user's intent in words, if no tool is named."""
    placements: tuple[tuple[str, str], ...] = ()
    """(words of the user, argument for the value that follows them)."""
    lacking: tuple[str, ...] = ()
    """Values that the call must contain."""


def read_json_block(prompt: str) -> Document:
    """Return the first JSON object in a fence, else the session of an SDK prompt, else an empty one."""
    for match in _FENCE.finditer(prompt):
        try:
            document = orjson.loads(match.group(1))
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            return document
    return read_sdk_document(prompt)


def block(prompt: str, name: str) -> str:
    """Return the text between `>>> name >>>` and `>>> End name >>>`; empty if there is no such block."""
    _, found, rest = prompt.partition(f">>> {name} >>>")
    return rest.partition(f">>> End {name} >>>")[0] if found else ""


@lru_cache(maxsize=256)
def _entries(prompt: str) -> tuple[tuple[str, str], ...]:
    """Return (cue, imperative) of the entries, in the order of the playbook."""
    lines = block(prompt, "Student Playbook").splitlines()
    matches = (_ENTRY.match(line) for line in lines)
    return tuple((match["cue"], match["imperative"]) for match in matches if match)


@lru_cache(maxsize=256)
def _guidance(prompt: str) -> Mapping[int, str]:
    return {int(turn): text for turn, text in _TURN.findall(block(prompt, "Teacher Guidance"))}


def advice_for(prompt: str, utterance: str, turn: int) -> Advice:
    """Return `prompt`'s advice for an utterance in this turn, the teacher's before the playbook's."""
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
    """Return the number of characters of the utterance that the cue matches; 0 for no match.

    A cue without signs of a regular expression is a list of keywords, separated by commas or bars.
    """
    text = utterance[:_LONGEST]
    if _SIGNS.search(cue):
        try:
            match = _compiled(cue).search(text)
            return len(match.group()) if match else 0
        except re.error:
            pass  # not a pattern: keywords
    lower = text.lower()
    words = [word.strip().lower() for word in re.split(r"[,|]", cue)]
    return max((len(word) for word in words if word and word in lower), default=0)


@lru_cache(maxsize=1024)
def _compiled(cue: str) -> re.Pattern[str]:
    return re.compile(cue, re.IGNORECASE)
