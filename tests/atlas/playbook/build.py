"""Entries, states and settings of a playbook."""

from __future__ import annotations

from typing import Any

from crm_assets.atlas.config import LearningConfig
from crm_assets.atlas.playbook import Cue, EntryUsage, PlaybookAction, PlaybookEntry, Rubric

HANDLES = ("clone_opportunity", "client_search", "modify_client")

LLM = {"provider": "openai", "model": "learner"}


def learning(**sections: Any) -> LearningConfig:
    return LearningConfig.model_validate({"llm": LLM, **sections})


def raw(**changes: Any) -> dict[str, Any]:
    """An entry as a learner proposes it; `cue`, `action` and `scope` are changed key by key."""
    proposal: dict[str, Any] = {
        "id": "clone",
        "audience": "student",
        "cue": {"type": "keyword", "pattern": "clone, duplicate", "description": "The user wants a copy."},
        "action": {
            "imperative": "Call clone_opportunity rather than create_new_opportunity.",
            "runtime_handle": "clone_opportunity",
        },
        "expected_effect": "Copies keep the fields of the original.",
        "scope": {
            "category": "reinforcement",
            "constraints": "",
            "applies_when": "an opportunity is copied",
        },
    }
    for name, change in changes.items():
        nested = isinstance(proposal.get(name), dict) and isinstance(change, dict)
        proposal[name] = {**proposal[name], **change} if nested else change
    return proposal


def entry(
    name: str = "clone",
    pattern: str = "clone",
    *,
    kind: Any = "keyword",
    imperative: str = "Call clone_opportunity.",
    handle: str | None = "clone_opportunity",
    audience: Any = "student",
    weighted: float = 0.9,
    description: str | None = None,
    **usage: Any,
) -> PlaybookEntry:
    return PlaybookEntry(
        id=name,
        audience=audience,
        cue=Cue(type=kind, pattern=pattern, description=description),
        action=PlaybookAction(imperative=imperative, runtime_handle=handle),
        rubric=Rubric(actionability=1, generality=1, hookability=1, concision=1, weighted=weighted),
        impact=EntryUsage(**usage),
    )
