"""Provider faults that a server mixes into its replies on purpose."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from crm_assets.errors import InputError
from crm_assets.offline_models.requests import Document

__all__ = ["FAULT_KINDS", "FaultKind", "FaultMix", "FaultSource", "spoil", "suits"]

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
"""In this order: a refusal, without and with Retry-After; a server error; no answer; a reset connection; no
content; half a body; half of a call's arguments; a JSON list for an object; wrong types in the body; JSON
in a code fence; an unknown tool; two calls at once; a score out of range; a score in words."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_OF_CALLS = frozenset({"truncated_arguments", "unknown_tool", "two_calls"})
_OF_OBJECTS = frozenset({"list", "fence"})
_OF_SCORES = frozenset({"score_7", "score_high"})


@dataclass(frozen=True)
class FaultMix:
    """Rate and kinds of faults; the same seed and requests give the same faults."""

    rate: float
    """Share of the requests with a fault, 0–1."""
    kinds: tuple[FaultKind, ...] = FAULT_KINDS
    """Kinds that do not apply to a reply (a score where it has none) leave it unchanged."""
    seed: int = 0
    retry_after: str = "1"
    """Value of the Retry-After header."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise InputError("The fault rate must be from 0 to 1.")
        unknown = sorted(set(self.kinds) - set(FAULT_KINDS))
        known = ", ".join(FAULT_KINDS)
        if unknown:
            raise InputError(f"Unknown kinds of faults: {', '.join(unknown)}; choose from {known}.")
        if not self.kinds:
            raise InputError(f"No kinds of faults are given; choose from {known}.")


@dataclass
class FaultSource:
    """Draws the faults of one server.

    A draw depends on the seed, the request's body and the number of times that body was sent before: so a
    retry can succeed, and the order of sessions does not matter.
    """

    plan: FaultMix
    _seen: Counter[bytes] = field(default_factory=Counter)

    def draw(self, body: bytes) -> FaultKind | None:
        """Return the fault of this request; None for none."""
        key = hashlib.sha256(body).digest()
        self._seen[key] += 1
        seed = f"{self.plan.seed} {self._seen[key]} ".encode()
        drawn = hashlib.sha256(seed + key).digest()
        if int.from_bytes(drawn[:8], "big") / 2**64 >= self.plan.rate:
            return None
        return self.plan.kinds[int.from_bytes(drawn[8:16], "big") % len(self.plan.kinds)]


def suits(kind: FaultKind, completion: Document) -> bool:
    """Return True if this fault applies to a completion."""
    message = completion["choices"][0]["message"]
    if kind in _OF_CALLS:
        return bool(message.get("tool_calls"))
    if kind in _OF_OBJECTS or kind in _OF_SCORES:
        document = _document(message)
        return document is not None and (kind in _OF_OBJECTS or "score" in document)
    return True


def spoil(kind: FaultKind, completion: Document) -> Document:
    """Return a copy of a completion with the fault; faults of the connection leave it unchanged."""
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
        # At least the opening bracket of "{}" stays.
        function["arguments"] = function["arguments"][: max(1, len(function["arguments"]) // 2)]
    elif kind == "unknown_tool":
        function["name"] = "open_the_pod_bay_doors"
    else:
        calls.append({**calls[0], "id": f"{calls[0]['id']}_again"})


def _spoilt_text(kind: FaultKind, document: Document) -> str:
    if kind in _OF_SCORES:
        document = {**document, "score": 7 if kind == "score_7" else "high"}
    text = orjson.dumps([document] if kind == "list" else document).decode()
    return f"Here it is:\n```json\n{text}\n```" if kind == "fence" else text


def _document(message: Document) -> Document | None:
    try:
        document = orjson.loads(message.get("content") or "")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
