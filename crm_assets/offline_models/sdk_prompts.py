"""Reads the Atlas SDK's prompts like this project's own: the role asked, and the session in question.

The SDK's prompts are one bare JSON object. The session as this project's adapter reports it is in the
step's artifacts and in the session's metadata.
"""

from __future__ import annotations

from typing import Literal

import orjson

from crm_assets.offline_models.requests import Document

__all__ = ["read_sdk_document", "sdk_role"]

_Role = Literal["teacher", "judge", "learner", "probe"]

_SIGNS: tuple[tuple[str, _Role], ...] = (
    ("Role: Adaptive execution router.", "probe"),
    ("Role: Expert solution evaluator.", "judge"),
    ("Role: Expert session reward arbiter.", "judge"),
    ("Role: Atlas learning synthesizer.", "learner"),
    ("Validate whether the student's execution is acceptable.", "teacher"),
    ("Review the student's proposed plan for this task.", "teacher"),
)
"""Texts that the SDK (0.1.16) uses in one of its prompts and in no other."""

_SUMMARIES = "Tier-1 Summaries:"


def sdk_role(system: str, last_user: str) -> _Role | None:
    """Return the role that the SDK asks; None for other prompts. Its arbiter has no system prompt."""
    prompt = system or last_user
    return next((role for sign, role in _SIGNS if sign in prompt), None)


def read_sdk_document(prompt: str) -> Document:
    """Return the session of an SDK prompt under this project's names; empty for other prompts."""
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


def _leading_object(prompt: str) -> Document:
    """Return the JSON object that a prompt begins with; an instruction may follow on its own line."""
    for text in (prompt, prompt.rpartition("\n")[0]):
        try:
            return _object(orjson.loads(text))
        except orjson.JSONDecodeError:
            continue
    return {}


def _summaries(text: str) -> list[Document]:
    """Return the judges' summaries, one per line; the SDK doubles their braces."""
    lines = text.replace("{{", "{").replace("}}", "}").splitlines()
    found: list[Document] = []
    for line in lines:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict) and "sample" in document:
            found.append(document)
    return found


def _lesson(asked: Document) -> Document:
    evidence = _object(_object(asked["latest_session"]).get("evidence"))
    steps = evidence.get("steps") or [{}]
    return {
        **_transcript(evidence),
        "available_runtime_handles": asked.get("available_runtime_handles"),
        "playbook_entries": asked.get("current_playbook_entries"),
        "guidance": " ".join(_object(steps[0]).get("guidance") or ()),
    }


def _transcript(asked: Document) -> Document:
    return _object(_object(asked.get("session_metadata")).get("transcript"))


def _content(reference: object) -> Document:
    return _object(_object(reference).get("content"))


def _object(value: object) -> Document:
    return value if isinstance(value, dict) else {}
