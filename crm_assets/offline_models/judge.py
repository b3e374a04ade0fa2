"""`offline/judge`: scores a session by its verdicts, or by its transcript where they are withheld."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import orjson

from crm_assets.offline_models.prompts import read_json_block
from crm_assets.offline_models.requests import Document, OfflineRequest
from crm_assets.offline_models.teacher import problem_with
from crm_assets.offline_models.turns import SeenTurn, read_turns

__all__ = ["judge_answer", "turn_judge_answer"]

_PRINCIPLES = (
    ("Accuracy", 0.6, "Every turn does what the user asked for, with the values that the user gave."),
    ("End state", 0.2, "The CRM is left as the user wanted it."),
    ("Efficiency", 0.2, "No call is refused, and none is made in vain."),
)
_STATE_WEIGHT = 0.2
_JITTER = 0.06
"""Largest change of a score at temperature 1."""
_UNSEEN = 0.2
"""Added to the uncertainty if verdicts are missing."""
_KEYS_LINE = re.compile(r"^.*\b(?:JSON|keys)\b.*$", re.MULTILINE)
_KEY = re.compile(r'"(\w+)"')
_WORD = re.compile(r"[a-z0-9.]+")


def judge_answer(request: OfflineRequest) -> Document:
    """Return {principles, score, rationale, uncertainty}; an arbiter averages with its judges' scores."""
    document = read_json_block(request.last_user)
    turns = read_turns(document)
    good = [_good(turn) for turn in turns]
    share = sum(good) / len(good) if good else 0.0
    score = _with_state(share, document.get("state_match"))
    if 0.0 < score < 1.0:
        score += _JITTER * request.temperature * (2 * _fraction(request) - 1)
    tier = _scores(document.get("tier1"))
    if tier:
        mean = sum(tier) / len(tier)
        score = (score + mean) / 2 if turns else mean
    return {
        "principles": [
            {"name": name, "weight": weight, "description": text} for name, weight, text in _PRINCIPLES
        ],
        "score": round(min(1.0, max(0.0, score)), 3),
        "rationale": _rationale(turns, good, document.get("state_match")),
        "uncertainty": round(_uncertainty(turns, share), 3) if not tier else 0.1,
    }


def _good(turn: SeenTurn) -> bool:
    return problem_with(turn) is None and turn.error is None if turn.success is None else turn.success


def _with_state(share: float, state_match: object) -> float:
    if not isinstance(state_match, bool):
        return share
    return (1 - _STATE_WEIGHT) * share + _STATE_WEIGHT * state_match


def _fraction(request: OfflineRequest) -> float:
    """Return a number in [0, 1) that depends on the prompt and the temperature only."""
    text = f"{request.temperature}\0{request.system}\0{request.last_user}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _scores(samples: object) -> list[float]:
    listed = samples if isinstance(samples, list) else []
    found = [entry.get("score") for entry in listed if isinstance(entry, Mapping)]
    return [float(score) for score in found if isinstance(score, (int, float))]


def _uncertainty(turns: Sequence[SeenTurn], share: float) -> float:
    """Return an uncertainty: small if all turns have the same outcome, larger if not or if unknown."""
    mixed = min(share, 1 - share)
    unseen = _UNSEEN if not turns or any(turn.success is None for turn in turns) else 0.0
    return 0.08 + 0.5 * mixed + unseen


def _rationale(turns: Sequence[SeenTurn], good: Sequence[bool], state_match: object) -> str:
    failed = [str(turn.number) for turn, fine in zip(turns, good, strict=True) if not fine]
    if not turns:
        return "Nothing was done."
    parts = [f"{len(turns) - len(failed)} of {len(turns)} turns did what was asked for."]
    if failed:
        parts.append(f"Not so: turn {', '.join(failed)}.")
        parts += [f"Turn {turn.number} was refused: {turn.error}" for turn in turns if turn.error][:1]
    if isinstance(state_match, bool):
        parts.append("The end state is right." if state_match else "The end state is wrong.")
    return " ".join(parts)


def turn_judge_answer(request: OfflineRequest) -> Document:
    """Return the scores of one turn, `actual` against `expected`, under the keys that the prompt names."""
    document = read_json_block(request.last_user)
    expected, actual = document.get("expected"), document.get("actual")
    scores = {"goal": _goal(expected, actual), "process": _process(expected, actual)}
    scores["score"] = _reply_score(expected, actual)
    asked = [key for line in _KEYS_LINE.findall(request.last_user) for key in _KEY.findall(line)]
    wanted = [key for key in dict.fromkeys(asked) if key in scores] or ["score"]
    shares = ", ".join(f"{key} {scores[key]:g}" for key in wanted)
    return {**{key: scores[key] for key in wanted}, "rationale": f"By what was expected: {shares}."}


def _goal(expected: object, actual: object) -> float:
    """Return the share of the expected values that the call or its result contains."""
    wanted = _leaves(expected.get("arguments") if isinstance(expected, Mapping) else expected)
    if not wanted:
        return _process(expected, actual)
    held = set(_leaves(actual))
    return round(sum(value in held for value in wanted) / len(wanted), 3)


def _process(expected: object, actual: object) -> float:
    if not (isinstance(expected, Mapping) and isinstance(actual, Mapping)):
        return 0.5
    return 1.0 if expected.get("tool") == actual.get("tool") else 0.5


def _leaves(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for entry in value.values() for leaf in _leaves(entry)]
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [] if value is None else [orjson.dumps(value).decode().strip('"').lower()]


def _reply_score(expected: object, actual: object) -> float:
    """Return the F1 score of the sets of words of the reply and the closest reference."""
    reply = actual.get("reply") if isinstance(actual, Mapping) else actual
    listed = expected.get("replies") if isinstance(expected, Mapping) else expected
    references = listed if isinstance(listed, (list, tuple)) else [listed]
    words = _words(reply)
    return round(max((_f1(words, _words(one)) for one in references), default=0.0), 3)


def _words(text: object) -> frozenset[str]:
    return frozenset(word.rstrip(".") for word in _WORD.findall(str(text or "").lower()))


def _f1(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0
