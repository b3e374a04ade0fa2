"""`offline/learner`: writes playbook entries from the turns that went wrong.

It does not know the expected calls (unless the prompt gives them). It reads the user's words as `intent`
does. Where they ask for another tool than was called, it records the tool; where the tool was right but a
name that the user gave is in no argument, and the stored record has an empty field for a name, it records
the field. Turns that succeeded with the teacher's guidance are recorded as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import orjson

from crm_assets.offline_models.intent import Intent, fitting_tool, tool_action, understand
from crm_assets.offline_models.prompts import read_json_block
from crm_assets.offline_models.requests import Document, OfflineRequest
from crm_assets.offline_models.text import ENTITIES
from crm_assets.offline_models.tools import words_of
from crm_assets.offline_models.turns import SeenTurn, read_turns

__all__ = ["learner_answer"]

_MOST_ENTRIES = 8
_ALIKE = 0.6
"""Jaccard similarity of two turns' words from which on they ask for the same."""
_SIGNED = re.compile(r"(?P<words>[A-Za-z]+(?: [a-z]+){1,2}) (?P<name>[A-Z][\w'-]+ [A-Z][\w'-]+)")
_OPENING_WORDS = 2
_GUIDED = re.compile(r"\bTurn (\d+):")
_IMPERATIVES: Mapping[str, str] = {
    "create": "Create the record.",
    "modify": "Change the record's fields.",
    "delete": "Delete the record.",
    "cancel": "Cancel it, do not edit it.",
    "clone": "Copy the record.",
    "view": "Show the one record.",
    "search": "List what matches.",
    "summarize": "Count and total them.",
    "compare": "Show them side by side.",
    "totals": "Show amounts and total.",
    "note": "Add a note.",
    "upload": "Attach the file.",
    "prefixes": "List the prefixes.",
}


def learner_answer(request: OfflineRequest) -> Document:
    """Return pamphlets, notes and playbook entries for the session in the prompt."""
    document = read_json_block(request.last_user)
    turns = read_turns(document)
    handles = _handles(document, turns)
    failed = [turn for turn in turns if _failed(turn)]
    guided = _guided(document)
    entries: dict[str, Document] = {}
    for turn in turns:
        if _failed(turn):
            entry = _tool_entry(turn, turns, handles) or _argument_entry(turn)
        else:
            entry = _kept_entry(turn, handles) if turn.number in guided else None
        if entry is not None:
            entries.setdefault(entry["id"], entry)
    known = _known_cues(document.get("playbook_entries"))
    new = [entry for entry in entries.values() if entry["cue"]["pattern"] not in known][:_MOST_ENTRIES]
    return {
        "student_pamphlet": "Let the user's verb choose the tool." if turns else None,
        "teacher_pamphlet": "Hold each call against the user's verb." if failed else None,
        "session_student_learning": _note(turns, failed, new),
        "session_teacher_learning": None,
        "playbook_entries": new,
        "metadata": {"turns": len(turns), "failed_turns": len(failed)},
    }


def _failed(turn: SeenTurn) -> bool:
    """Return True for a failed turn: by its verdict, or without one by a missing call or an error."""
    return turn.tool is None or turn.error is not None if turn.success is None else not turn.success


def _handles(document: Document, turns: Iterable[SeenTurn]) -> list[str]:
    """Return the tools that an entry may name; without a list in the prompt, those that were called."""
    for name in ("available_runtime_handles", "tools"):
        if document.get(name):
            return [str(handle) for handle in document[name]]
    return list(dict.fromkeys(turn.tool for turn in turns if turn.tool))


def _known_cues(entries: object) -> set[str]:
    listed = entries if isinstance(entries, list) else []
    cues = [entry.get("cue") for entry in listed if isinstance(entry, Mapping)]
    return {str(cue["pattern"]) for cue in cues if isinstance(cue, Mapping) and cue.get("pattern")}


def _guided(document: Document) -> set[int]:
    """Return the numbers of the turns that got guidance."""
    return {int(number) for number in _GUIDED.findall(str(document.get("guidance") or ""))}


def _kept_entry(turn: SeenTurn, handles: Sequence[str]) -> Document | None:
    """Return an entry for a turn that succeeded with guidance, so that it succeeds without; or None."""
    intent = understand(turn.user)
    if intent is None or turn.tool is None or tool_action(turn.tool) != intent.action:
        return None
    if turn.tool not in handles:
        return None
    return _entry(intent.cue, _IMPERATIVES[intent.action], turn.tool, _effect(intent, turn.tool))


def _tool_entry(turn: SeenTurn, turns: Sequence[SeenTurn], handles: Sequence[str]) -> Document | None:
    """Return an entry that names another tool for these words; None if the tool was right."""
    intent = understand(turn.user)
    tool = turn.expected.get("tool") if turn.expected else None
    tool = tool or (fitting_tool(intent, handles) if intent else None) or _by_example(turn, turns)
    if tool is None or tool not in handles or tool == turn.tool or _same(tool, turn.tool):
        return None
    cue = intent.cue if intent else _opening(turn.user)
    if not cue:
        return None
    action = tool_action(tool) or ""
    return _entry(cue, _IMPERATIVES.get(action, "Call it."), tool, _effect(intent, tool))


def _same(tool: str, called: str | None) -> bool:
    """Return True if both names mean the same: one may only have more words."""
    if called is None or tool_action(tool) != tool_action(called):
        return False
    one, other = (frozenset(words_of(name.replace("_", " "))) for name in (tool, called))
    return one <= other or other <= one


def _effect(intent: Intent | None, tool: str) -> str:
    return (
        f"The user wants to {intent.words}; {tool} does." if intent else f"{tool} does what is asked for."
    )


def _by_example(turn: SeenTurn, turns: Sequence[SeenTurn]) -> str | None:
    """Return the tool of a similar turn that succeeded."""
    words = frozenset(words_of(turn.user))
    for other in turns:
        theirs = frozenset(words_of(other.user))
        alike = len(words & theirs) >= _ALIKE * len(words | theirs)
        if other is not turn and other.success and alike and other.tool:
            return other.tool
    return None


def _opening(text: str) -> str:
    return ".*".join(words_of(text)[:_OPENING_WORDS])


def _argument_entry(turn: SeenTurn) -> Document | None:
    """Return an entry for the field of a name that the user gave and the record lacks; or None."""
    if turn.tool is None or not isinstance(turn.result, Mapping):
        return None
    given = orjson.dumps(turn.arguments).decode()
    empty = [
        name for name, value in turn.result.items() if value is None and name.endswith(("_by", "owner"))
    ]
    for match in _SIGNED.finditer(turn.user):
        words = match["words"].lower()
        if match["name"] not in given and empty and not any(entity in words for entity in ENTITIES):
            imperative = f'Put the name after "{words}" in {empty[0]}.'
            return _entry(words, imperative, turn.tool, f"{empty[0]} is stored.")
    return None


def _entry(cue: str, imperative: str, tool: str, effect: str) -> Document:
    identity = hashlib.sha256(f"{cue}\0{imperative}\0{tool}".encode()).hexdigest()[:8]
    letters = identity.translate(str.maketrans("0123456789", "ghijklmnop"))
    return {
        "id": f"{tool}-{letters}",
        "audience": "student",
        "cue": {"type": "regex", "pattern": cue},
        "action": {"imperative": imperative, "runtime_handle": tool, "tool_name": tool, "arguments": None},
        "expected_effect": effect,
        "scope": {"category": "differentiation", "constraints": "", "applies_when": None},
    }


def _note(turns: Sequence[SeenTurn], failed: Sequence[SeenTurn], new: Sequence[Document]) -> str | None:
    if not turns:
        return None
    if not failed:
        return "Every turn went well."
    numbers = ", ".join(str(turn.number) for turn in failed)
    return f"Turn {numbers} went wrong; learnt {len(new)} rule{'' if len(new) == 1 else 's'} from it."
