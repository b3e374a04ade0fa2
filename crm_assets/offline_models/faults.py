"""What can go wrong with a provider, on purpose: faults that a server mixes into its replies."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from crm_assets.errors import InputError

__all__ = ["FAULT_KINDS", "FaultKind", "FaultPlan", "FaultSource", "spoil", "suits"]

FaultKind = Literal[
    "429",
    "429_retry_after",
    "500",
    "hang",
    "reset",
    "empty",
    "truncated_body",
    "truncated_arguments",
    "list",
    "wrong_types",
    "fence",
    "unknown_tool",
    "two_calls",
    "score_7",
    "score_high",
]
"""Refused, with or without saying when to come back; no answer; a torn connection; no content; half a
body; half a call's arguments; a JSON list for an object; wrong types in the body; JSON in a code fence; a
tool that nobody has; two calls at once; a score out of range; a score in words."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_OF_CALLS = frozenset({"truncated_arguments", "unknown_tool", "two_calls"})
_OF_OBJECTS = frozenset({"list", "fence"})
_OF_SCORES = frozenset({"score_7", "score_high"})


@dataclass(frozen=True)
class FaultPlan:
    """How often what goes wrong. The same seed and requests, the same faults."""

    rate: float
    """Share of the requests, 0–1."""
    kinds: tuple[FaultKind, ...] = FAULT_KINDS
    """Those that do not suit a reply (a score where there is none) leave it as it is."""
    seed: int = 0
    retry_after: str = "1"
    """Value of the Retry-After header."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise InputError("A fault rate is a share, from 0 to 1.")
        unknown = sorted(set(self.kinds) - set(FAULT_KINDS))
        if unknown or not self.kinds:
            raise InputError(f"Faults are any of {', '.join(FAULT_KINDS)}, not {', '.join(unknown)}.")


@dataclass
class FaultSource:
    """Draws the faults of one server.

    What is drawn follows from the seed, the request's body and how often that body has come before: so a
    retry can succeed, and the order in which sessions ask does not matter.
    """

    plan: FaultPlan
    _seen: Counter[bytes] = field(default_factory=Counter)

    def draw(self, body: bytes) -> FaultKind | None:
        """What goes wrong with this request; None for nothing."""
        key = hashlib.sha256(body).digest()
        self._seen[key] += 1
        seed = f"{self.plan.seed} {self._seen[key]} ".encode()
        drawn = hashlib.sha256(seed + key).digest()
        if int.from_bytes(drawn[:8], "big") / 2**64 >= self.plan.rate:
            return None
        return self.plan.kinds[int.from_bytes(drawn[8:16], "big") % len(self.plan.kinds)]


def suits(kind: FaultKind, completion: dict[str, Any]) -> bool:
    """Whether a completion can be spoilt in this way."""
    message = completion["choices"][0]["message"]
    if kind in _OF_CALLS:
        return bool(message.get("tool_calls"))
    if kind in _OF_OBJECTS or kind in _OF_SCORES:
        document = _document(message)
        return document is not None and (kind in _OF_OBJECTS or "score" in document)
    return True


def spoil(kind: FaultKind, completion: dict[str, Any]) -> dict[str, Any]:
    """A completion, spoilt; kinds that concern the connection leave it as it is."""
    spoilt: dict[str, Any] = orjson.loads(orjson.dumps(completion))
    choice = spoilt["choices"][0]
    message = choice["message"]
    if kind == "empty":
        choice["message"] = {"role": "assistant", "content": ""}
    elif kind == "wrong_types":
        choice["message"] = {"role": "assistant", "content": {"text": 7}, "tool_calls": "none"}
        spoilt["usage"] = {"prompt_tokens": "many"}
    elif kind in _OF_CALLS:
        _spoil_calls(kind, message["tool_calls"])
    elif kind in _OF_OBJECTS or kind in _OF_SCORES:
        message["content"] = _spoilt_text(kind, _document(message) or {})
    return spoilt


def _spoil_calls(kind: FaultKind, calls: list[dict[str, Any]]) -> None:
    function = calls[0]["function"]
    if kind == "truncated_arguments":
        # The half of "{}" is no half of anything: an opening bracket is left at least.
        function["arguments"] = function["arguments"][: max(1, len(function["arguments"]) // 2)]
    elif kind == "unknown_tool":
        function["name"] = "open_the_pod_bay_doors"
    else:
        calls.append({**calls[0], "id": f"{calls[0]['id']}_again"})


def _spoilt_text(kind: FaultKind, document: dict[str, Any]) -> str:
    if kind in _OF_SCORES:
        document = {**document, "score": 7 if kind == "score_7" else "high"}
    text = orjson.dumps([document] if kind == "list" else document).decode()
    return f"Here it is:\n```json\n{text}\n```" if kind == "fence" else text


def _document(message: dict[str, Any]) -> dict[str, Any] | None:
    try:
        document = orjson.loads(message.get("content") or "")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
