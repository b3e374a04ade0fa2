"""Score entries by their text, before they are used."""

from __future__ import annotations

from crm_assets.atlas.config import LearningConfig, RubricWeights
from crm_assets.atlas.playbook.learning_state import PlaybookEntry, Rubric

__all__ = ["entry_texts", "score_entry"]

_HOOKABILITY = {"regex": 1.0, "predicate": 0.6, "keyword": 0.4}
_DIGITS = 6


def entry_texts(entry: PlaybookEntry) -> tuple[str, ...]:
    """Return the non-empty texts of an entry, the cue's pattern first."""
    texts = (
        entry.cue.pattern,
        entry.cue.description,
        entry.action.imperative,
        entry.expected_effect,
        entry.scope.constraints,
        entry.scope.applies_when,
    )
    return tuple(text for text in texts if text)


def score_entry(
    entry: PlaybookEntry, config: LearningConfig, *, actionable: bool, hookable: bool, general: bool
) -> Rubric:
    """Score an entry, 0–1 each.

    Actionability and generality are 0 or 1; hookability depends on the cue's type and is 0 for an unusable
    cue; concision is 1 − overflow / `max_text_length`, at least 0, where overflow is the total length of
    the texts beyond `max_text_length`. The weighted score is their mean by `rubric_weights`.

    Args:
        entry: the entry.
        config: limits and weights.
        actionable: True if it passes the actionability gate.
        hookable: True if its cue is usable.
        general: True if it passes the generality gate.
    """
    longest = config.gates.max_text_length
    overflow = max(0, sum(map(len, entry_texts(entry))) - longest)
    scores = {
        "actionability": float(actionable),
        "generality": float(general),
        "hookability": _HOOKABILITY[entry.cue.type] if hookable else 0.0,
        "concision": round(max(0.0, 1.0 - overflow / longest), _DIGITS),
    }
    return Rubric(**scores, weighted=_weighted(scores, config.rubric_weights))


def _weighted(scores: dict[str, float], weights: RubricWeights) -> float:
    by_name: dict[str, float] = weights.model_dump()
    total = sum(by_name.values())
    if not total:
        return 0.0
    return round(sum(by_name[name] * score for name, score in scores.items()) / total, _DIGITS)
