"""The scores of a session in an Inspect log, and what they come to over a run."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any, Final

import orjson

from crm_assets.records import ConversationResult, LoopSession
from crm_assets.reporting.sessions_view.wording import state_lines, verdict

__all__ = ["SCORES", "ScoreTally", "scores_of"]

SCORES: Final = ("strict_success", "every_turn", "state_match", "turn_share", "reward", "chain_success")
"""Names of the scores, the headline first."""

UNSCORED: Final = orjson.Fragment(b"NaN")
"""Inspect's value of a score that is no verdict: kept, and left out of its metrics."""

Score = dict[str, Any]


def scores_of(session: LoopSession) -> Iterator[tuple[str, float | bool | None, Score]]:
    """Yield name, value and document of each score of a session; none of one that did not run.

    The value is None where there is no verdict.
    """
    result = session.ran
    if result is None:
        return
    for name, value, explanation, metadata in _scores(session, result):
        score: Score = {
            "value": UNSCORED if value is None else value,
            "explanation": explanation,
            "metadata": metadata,
        }
        if value is None:
            score["reason"] = "no_verdict"
        yield name, value, score


def _scores(
    session: LoopSession, result: ConversationResult
) -> Iterator[tuple[str, float | bool | None, str, dict[str, Any]]]:
    turns = result.per_turn_results
    strict = result.overall_success
    every = result.every_turn
    yield (
        "strict_success",
        strict,
        f"Every turn: {_word(every)}. End state: {_word(result.state_match)}.",
        {"formula": "turns" if result.schema_version == 1 else "turns_and_state"},
    )
    yield (
        "every_turn",
        every,
        "\n".join(f"Turn {turn.turn_id}: {verdict(turn)}" for turn in turns),
        {f"turn_{turn.turn_id}": turn.verification for turn in turns},
    )
    yield "state_match", result.state_match, _state(result), {"noop": result.noop_state_match}
    decided = [turn.success for turn in turns if turn.success is not None]
    right = sum(decided)
    yield (
        "turn_share",
        result.reward_signal,
        f"{right} of {len(decided)} decided turns are right.",
        {"right": right, "decided": len(decided)},
    )
    reward = session.atlas_metadata.session_reward
    if reward is not None or session.atlas_metadata.reward_status is not None:
        yield _reward(session)
    if result.chain_success is not None:
        segments = result.per_segment_results
        said = ", ".join(f"{segment.segment_number}: {segment.actual_outcome}" for segment in segments)
        yield "chain_success", result.chain_success, f"Segments: {said}.", {"segments": len(segments)}


def _reward(session: LoopSession) -> tuple[str, float | None, str, dict[str, Any]]:
    facts = session.atlas_metadata
    given = facts.session_reward
    judges = given.judges if given else ()
    rationales = [judge.rationale for judge in judges if judge.rationale]
    samples = [sample.score for judge in judges for sample in judge.samples]
    missing = "The judges gave no usable reply." if given is None else "No reason given."
    return (
        "reward",
        given.score if given else None,
        "\n".join(rationales) or (given.rationale if given else None) or missing,
        {"samples": samples, "escalated": any(judge.escalated for judge in judges)},
    )


def _state(result: ConversationResult) -> str:
    if result.state_match is None:
        return "No verdict."
    return "\n".join(state_lines(result.state_diff)) or "As expected."


def _word(known: bool | None) -> str:
    return {True: "right", False: "wrong", None: "no verdict"}[known]


class _Sums:
    def __init__(self) -> None:
        self.conversations: dict[str, int] = {}
        self.sums = array("d")
        self.counts = array("q")

    def add(self, conversation: str, value: float | None) -> None:
        place = self.conversations.setdefault(conversation, len(self.sums))
        if place == len(self.sums):
            self.sums.append(0.0)
            self.counts.append(0)
        if value is not None:
            self.sums[place] += value
            self.counts[place] += 1


class ScoreTally:
    """Adds up scores: of each conversation the mean over its epochs, and of these mean and standard error.

    These are Inspect's `mean` and `stderr` behind its epochs reducer `mean`, in memory for one number a
    conversation.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, _Sums] = {}

    def add(self, name: str, conversation: str, value: float | None) -> None:
        """Add the score of a session; None is no verdict."""
        self._by_name.setdefault(name, _Sums()).add(conversation, value)

    def results(self) -> list[dict[str, Any]]:
        """Return a document in the shape of `inspect_ai.log.EvalScore` for each score, in their order."""
        return [self._result(name, self._by_name[name]) for name in SCORES if name in self._by_name]

    def _result(self, name: str, sums: _Sums) -> dict[str, Any]:
        means = [total / count for total, count in zip(sums.sums, sums.counts, strict=True) if count]
        mean = math.fsum(means) / len(means) if means else math.nan
        spread = math.fsum((value - mean) ** 2 for value in means)
        few = len(means) < 2  # noqa: PLR2004  (Inspect says 0 of the error of one value)
        error = 0.0 if few else math.sqrt(spread / (len(means) - 1) / len(means))
        if not means:
            error = math.nan
        return {
            "name": name,
            "scorer": name,
            "reducer": "mean",
            "scored_samples": len(means),
            "unscored_samples": len(sums.sums) - len(means),
            "metrics": {
                "mean": {"name": "mean", "value": mean},
                "stderr": {"name": "stderr", "value": error},
            },
        }
