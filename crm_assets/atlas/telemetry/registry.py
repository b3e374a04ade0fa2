"""Convert between a row of `learning_registry` and a learning state.

The SDK's `playbook_entries` have other rubrics and counters and a nested lifecycle; they are converted.
Unreadable entries and unknown keys of the metadata are kept in the row unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from crm_assets.atlas.playbook import LearningState, PlaybookEntry

__all__ = ["RegistryRow", "read_row", "row_metadata", "state_document"]

_ENTRIES_FORM = "playbook_entry.v1"
"""The SDK's version of the entry format (`playbook_version`)."""
_OURS = "crm_assets"
"""The key of our counters, which the SDK does not have."""
_COUNTERS = ("version", "sessions", "reward_sum", "rewarded")

_USAGE_OF_THE_SDK = {
    "sessions_observed": "sessions",
    "total_cue_hits": "cue_hits",
    "sessions_with_hits": "sessions_hit",
    "successful_adoptions": "action_adoptions",
    "failed_adoptions": "failed_adoptions",
    "reward_with_sum": "reward_sum_hit",
    "reward_with_count": "rewarded_hit",
}


@dataclass(frozen=True)
class RegistryRow:
    """A parsed row: the state, and what must be written back unchanged."""

    state: LearningState
    unreadable: tuple[object, ...] = ()
    """Entries that cannot be parsed."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """The whole column."""


def read_row(student_learning: str | None, teacher_learning: str | None, metadata: object) -> RegistryRow:
    """Parse a row that crm_assets or the SDK wrote."""
    known = _mapping(metadata)
    counters = _mapping(known.get(_OURS))
    evaluation = known.get("last_evaluation")
    entries = [(raw, _entry(raw)) for raw in _entries(known)]
    state = LearningState(
        student_learning=student_learning or None,
        teacher_learning=teacher_learning or None,
        entries=tuple(entry for _, entry in entries if entry and entry.provenance.lifecycle == "active"),
        last_evaluation=dict(evaluation) if isinstance(evaluation, Mapping) else None,
        **{name: counters[name] for name in _COUNTERS if isinstance(counters.get(name), (int, float))},
    )
    return RegistryRow(state, tuple(raw for raw, entry in entries if entry is None), known)


def row_metadata(state: LearningState, before: RegistryRow) -> dict[str, object]:
    """Return the new `metadata` of a row: `state`, and what is kept from `before`."""
    document = state.model_dump(mode="json", include={"entries", "last_evaluation", *_COUNTERS})
    return {
        **before.metadata,
        "playbook_entries": [*document["entries"], *before.unreadable],
        "playbook_version": _ENTRIES_FORM,
        "last_evaluation": document["last_evaluation"],
        _OURS: {name: document[name] for name in _COUNTERS},
    }


def state_document(state: LearningState) -> dict[str, object]:
    """Return `metadata.learning_state` of a session in the SDK's format."""
    return {
        "student_learning": state.student_learning,
        "teacher_learning": state.teacher_learning,
        "metadata": row_metadata(state, RegistryRow(LearningState())),
    }


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _entries(metadata: Mapping[str, object]) -> Sequence[object]:
    entries = metadata.get("playbook_entries")
    return entries if isinstance(entries, list) else []


def _entry(raw: object) -> PlaybookEntry | None:
    """Parse an entry of either format; None if it is invalid."""
    if not isinstance(raw, Mapping):
        return None
    try:
        return PlaybookEntry.model_validate(_from_sdk(raw) if _is_of_sdk(raw) else raw)
    except ValidationError:
        return None


def _is_of_sdk(raw: Mapping[str, object]) -> bool:
    return (
        "status" in _mapping(raw.get("provenance"))
        or "scores" in _mapping(raw.get("rubric"))
        or "sessions_observed" in _mapping(raw.get("impact"))
    )


def _from_sdk(raw: Mapping[str, object]) -> dict[str, object]:
    scope, provenance = _mapping(raw.get("scope")), _mapping(raw.get("provenance"))
    source = provenance.get("source_session_id")
    return {
        **raw,
        "scope": {
            **scope,
            "category": "reinforcement" if scope.get("category") == "reinforcement" else "differentiation",
        },
        "provenance": {
            **provenance,
            "source_session_id": None if source is None else str(source),
            "lifecycle": _lifecycle_of_sdk(provenance),
        },
        "rubric": _rubric_of_sdk(_mapping(raw.get("rubric"))),
        "impact": _usage_of_sdk(_mapping(raw.get("impact"))),
    }


def _lifecycle_of_sdk(provenance: Mapping[str, object]) -> str:
    """Return `active` for provisional and deprecated entries too: the SDK shows them to its student."""
    return "pruned" if _mapping(provenance.get("status")).get("lifecycle") == "pruned" else "active"


def _rubric_of_sdk(rubric: Mapping[str, object]) -> dict[str, object] | None:
    scores = _mapping(rubric.get("scores"))
    names = ("actionability", "generality", "hookability", "concision")
    if not all(isinstance(scores.get(name), (int, float)) for name in names):
        return None
    return {**{name: scores[name] for name in names}, "weighted": rubric.get("weighted_total") or 0.0}


def _usage_of_sdk(impact: Mapping[str, object]) -> dict[str, object]:
    return {ours: impact[theirs] for theirs, ours in _USAGE_OF_THE_SDK.items() if theirs in impact}
