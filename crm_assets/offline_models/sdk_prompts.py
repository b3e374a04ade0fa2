"""The Atlas SDK's prompts, read as ours: who is asked, and the session that is asked about.

The SDK puts its questions as one bare JSON object, with the session where its own loop has it; what an
adapter of ours tells of the session stands in the step's artifacts and in the session's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

__all__ = ["read_sdk_document", "sdk_part"]

_Part = Literal["teacher", "judge", "learner", "probe"]

_SIGNS: tuple[tuple[str, _Part], ...] = (
    ("Role: Adaptive execution router.", "probe"),
    ("Role: Expert solution evaluator.", "judge"),
    ("Role: Expert session reward arbiter.", "judge"),
    ("Role: Atlas learning synthesizer.", "learner"),
    ("Validate whether the student's execution is acceptable.", "teacher"),
    ("Review the student's proposed plan for this task.", "teacher"),
)
"""What the SDK (0.1.16) says in one of its prompts and in no other."""

_SUMMARIES = "Tier-1 Summaries:"


def sdk_part(system: str, last_user: str) -> _Part | None:
    """Whom the SDK asks; None where it does not. Its arbiter is asked in the user's message."""
    prompt = system or last_user
    return next((part for sign, part in _SIGNS if sign in prompt), None)


def read_sdk_document(prompt: str) -> dict[str, Any]:
    """What one of the SDK's prompts asks about, under the names that ours have; nothing of another's."""
    if _SUMMARIES in prompt:
        return {"tier1": _summaries(prompt.partition(_SUMMARIES)[2])}
    asked = _leading_object(prompt)
    if "structured_output" in asked:
        return _content(asked.get("artifacts"))
    if "latest_session" in asked:
        return _lesson(asked)
    if "learning_history" in asked:
        entries = _object(asked["learning_history"]).get("entries")
        listed = entries if isinstance(entries, list) else []
        return {"past_sessions": [_object(_object(entry).get("reward")) for entry in listed]}
    if "session_metadata" in asked:
        return {**asked, **_transcript(asked)}
    return asked


def _leading_object(prompt: str) -> dict[str, Any]:
    """The JSON object that a prompt begins with; an instruction may follow in a line of its own."""
    for text in (prompt, prompt.rpartition("\n")[0]):
        try:
            return _object(orjson.loads(text))
        except orjson.JSONDecodeError:
            continue
    return {}


def _summaries(text: str) -> list[dict[str, Any]]:
    """The judges' words, a line each; the SDK doubles their braces."""
    lines = text.replace("{{", "{").replace("}}", "}").splitlines()
    found = []
    for line in lines:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict) and "sample" in document:
            found.append(document)
    return found


def _lesson(asked: Mapping[str, Any]) -> dict[str, Any]:
    evidence = _object(_object(asked["latest_session"]).get("evidence"))
    steps = evidence.get("steps") or [{}]
    return {
        **_transcript(evidence),
        "available_runtime_handles": asked.get("available_runtime_handles"),
        "playbook_entries": asked.get("current_playbook_entries"),
        "guidance": " ".join(_object(steps[0]).get("guidance") or ()),
    }


def _transcript(asked: Mapping[str, Any]) -> dict[str, Any]:
    return _object(_object(asked.get("session_metadata")).get("transcript"))


def _content(reference: object) -> dict[str, Any]:
    return _object(_object(reference).get("content"))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
