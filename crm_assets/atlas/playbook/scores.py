"""How good an entry looks, before it has been used."""

from __future__ import annotations

from crm_assets.atlas.config import LearningConfig, RubricWeights
from crm_assets.atlas.playbook.learning_state import PlaybookEntry, Rubric

__all__ = ["entry_texts", "score_entry"]

_HOOKABILITY = {"regex": 1.0, "predicate": 0.6, "keyword": 0.4}
_DIGITS = 6


def entry_texts(entry: PlaybookEntry) -> tuple[str, ...]:
    """The texts that a learner wrote, the cue's pattern first; empty ones left out."""
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

    Actionability and generality are 0 or 1; hookability is that of the cue's type, 0 where it can never
    match; concision is 1 less what the texts are longer than `max_text_length`, as a share of it. The
    weighted score is their mean by `rubric_weights`.

    Args:
        entry: the entry.
        config: limits and weights.
        actionable: whether it says what to do with a tool that there is.
        hookable: whether its cue can be used.
        general: whether it is about more than one case.
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
