"""`offline/teacher`: compares each turn with the apparent intent of the user's words.

It sees no verdict. It finds turns without a call, with a tool of another action, with arguments that the
tool refused, and without a value that the user gave; its guidance names the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from crm_assets.offline_models.intent import tool_action, understand
from crm_assets.offline_models.prompts import read_json_block
from crm_assets.offline_models.requests import Document, OfflineRequest
from crm_assets.offline_models.text import PLURALS
from crm_assets.offline_models.turns import SeenTurn, read_turns, unused_values

__all__ = ["probe_answer", "problem_with", "teacher_answer"]

_MENTIONED = 1
_MALFORMED = re.compile(r"needs the argument|has no argument|cannot use its argument|is no tool|no object")
_AUTO, _PAIRED = 0.85, 0.65


def teacher_answer(request: OfflineRequest) -> Document:
    """Return {valid, guidance} for the transcript, or for the plan, in the prompt."""
    document = read_json_block(request.last_user)
    turns = read_turns(document)
    if not turns:
        return _plan_review(document)
    problems = [(turn.number, problem) for turn in turns if (problem := problem_with(turn))]
    guidance = " ".join(f"Turn {number}: {problem}." for number, problem in problems[:_MENTIONED])
    return {"valid": not problems, "guidance": guidance or None}


def problem_with(turn: SeenTurn) -> str | None:
    """Return the problem of a turn, as far as its words show; None if there is none."""
    intent = understand(turn.user)
    wish = f"the user wants to {intent.words}" if intent else None
    if turn.tool is None:
        return wish and f"nothing was called; {wish}"
    if intent is not None and tool_action(turn.tool) != intent.action:
        return wish
    if intent is not None and intent.entity is not None and intent.entity not in turn.tool:
        return wish if PLURALS[intent.entity] not in turn.tool else None
    if turn.error and _MALFORMED.search(turn.error):
        return f"the tool refused the call: {turn.error.rstrip('.')}"
    lacking = unused_values(turn)
    return f'the call lacks "{lacking[0].text}", which the user gave' if lacking else None


def _plan_review(document: Document) -> Document:
    """Return {valid, guidance}: any plan that is not empty is valid."""
    if str(document.get("plan") or "").strip():
        return {"valid": True, "guidance": None}
    return {"valid": False, "guidance": "Say in a few steps which tools you will call, and with what."}


def probe_answer(request: OfflineRequest) -> Document:
    """Return {mode, confidence}: the mean score of past sessions, pulled to 0.5 if they are few."""
    document = read_json_block(request.last_user)
    past: Sequence[object] = document.get("past_sessions", document.get("history", ()))
    scores = [
        entry["score"]
        for entry in past
        if isinstance(entry, Mapping) and isinstance(entry.get("score"), (int, float))
    ]
    # One more session with the score 0.5: a few good ones prove little.
    confidence = round((sum(scores) + 0.5) / (len(scores) + 1), 3)
    mode = "auto" if confidence >= _AUTO else "paired" if confidence >= _PAIRED else "coach"
    return {"mode": mode, "confidence": confidence}
