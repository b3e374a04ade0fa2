"""`offline/teacher`: holds each turn against what the user's words seem to ask for.

It sees no verdict. It finds the turns without a call, those whose tool does something else than was
asked for, those that a tool refused for its arguments, and those that leave out a value that the user gave;
and it speaks of the first of them, one thing at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crm_assets.offline_models.intent import tool_action, understand
from crm_assets.offline_models.prompts import read_json_block
from crm_assets.offline_models.requests import OfflineRequest
from crm_assets.offline_models.turns import SeenTurn, read_turns, unused_values

__all__ = ["probe_answer", "problem_with", "teacher_answer"]

_MENTIONED = 1
_MALFORMED = re.compile(r"needs the argument|has no argument|cannot use its argument|is no tool|no object")
_AUTO, _PAIRED = 0.85, 0.65


def teacher_answer(request: OfflineRequest) -> dict[str, Any]:
    """`{"valid", "guidance"}` of the transcript, or of the plan, in the prompt."""
    document = read_json_block(request.last_user)
    turns = read_turns(document)
    if not turns:
        return _plan_review(document)
    problems = [(turn.number, problem) for turn in turns if (problem := problem_with(turn))]
    told = " ".join(f"Turn {number}: {problem}." for number, problem in problems[:_MENTIONED])
    return {"valid": not problems, "guidance": told or None}


def problem_with(turn: SeenTurn) -> str | None:
    """What is wrong with a turn, as far as its words tell; None for nothing."""
    intent = understand(turn.user)
    wish = f"the user wants to {intent.words}" if intent else None
    if turn.tool is None:
        return wish and f"nothing was called; {wish}"
    if intent is not None and tool_action(turn.tool) != intent.action:
        return wish
    if intent is not None and intent.entity is not None and intent.entity not in turn.tool:
        return wish if _plural(intent.entity) not in turn.tool else None
    if turn.error and _MALFORMED.search(turn.error):
        return f"the tool refused the call: {turn.error.rstrip('.')}"
    lacking = unused_values(turn)
    return f'the call lacks "{lacking[0].text}", which the user gave' if lacking else None


def _plural(entity: str) -> str:
    return f"{entity[:-1]}ies" if entity.endswith("y") else f"{entity}s"


def _plan_review(document: Mapping[str, Any]) -> dict[str, Any]:
    """A plan is fine if it comes in steps."""
    if str(document.get("plan") or "").strip():
        return {"valid": True, "guidance": None}
    return {"valid": False, "guidance": "Say in a few steps which tools you will call, and with what."}


def probe_answer(request: OfflineRequest) -> dict[str, Any]:
    """`{"mode", "confidence"}`: as sure as past sessions went well, less where there are few of them."""
    document = read_json_block(request.last_user)
    past: Any = next((document[name] for name in ("past_sessions", "history") if name in document), [])
    scores = [
        entry["score"]
        for entry in past
        if isinstance(entry, Mapping) and isinstance(entry.get("score"), (int, float))
    ]
    # One more session that went halfway: a few good ones do not prove much.
    confidence = round((sum(scores) + 0.5) / (len(scores) + 1), 3)
    mode = "auto" if confidence >= _AUTO else "paired" if confidence >= _PAIRED else "coach"
    return {"mode": mode, "confidence": confidence}
