"""Follows the attempts of one call, recorded or made now: what they cost, and what they come to."""

from __future__ import annotations

from crm_assets.errors import ConfigError, CrmAssetsError
from crm_assets.llm.entries import CallError, LedgerEntry
from crm_assets.llm.errors import MalformedReply, ModelError
from crm_assets.llm.interface import Answer
from crm_assets.llm.messages import ChatReply
from crm_assets.llm.retries import RetryPolicy, is_transient
from crm_assets.llm.spec import ModelSpec
from crm_assets.llm.spending import Spending

__all__ = ["Attempts"]


class Attempts:
    """The attempts of one call so far."""

    def __init__(self, spec: ModelSpec, policy: RetryPolicy) -> None:
        self._spec = spec
        self._policy = policy
        self._spending: list[Spending] = []
        self._last: LedgerEntry | None = None
        self._last_reply: ChatReply | None = None
        self._malformed = 0
        self._transient = 0

    def __len__(self) -> int:
        return len(self._spending)

    @property
    def failures_in_transport(self) -> int:
        """How many of them failed for reasons that pass."""
        return self._transient

    def add(self, entry: LedgerEntry) -> Answer | None:
        """Count an attempt; the answer if it gave a usable reply."""
        self._spending.append(entry.spending)
        self._last = entry
        reply = entry.chat_reply
        if reply is not None:
            self._last_reply = reply
        if entry.error is None and reply is not None:
            return Answer(reply, Spending.total(self._spending))
        if entry.error is not None:
            self._malformed += entry.error.kind == "malformed"
            self._transient += is_transient(entry.error.kind)
        return None

    def start_afresh(self) -> None:
        """Give the transport its full number of attempts again, in a later start of the run."""
        self._transient = 0
        if self._last is not None and self._last.error is not None and self._last.error.kind != "malformed":
            self._last = None

    def verdict(self) -> CrmAssetsError | None:
        """Why no further attempt is to be made; None while one is."""
        error = self._last.error if self._last else None
        if error is None:
            return None
        if error.kind == "malformed":
            done = self._malformed >= self._policy.malformed_attempts
            return self._never_of_use(error.message) if done else None
        if is_transient(error.kind):
            done = self._transient >= self._policy.attempts
            return self._never_there(error.message) if done else None
        return _refusal(self._spec, error)

    def _never_of_use(self, message: str) -> MalformedReply:
        return MalformedReply(
            f"{self._spec.name} gave no reply of the form asked for in {self._malformed} attempts; the "
            f"last one: {message}.",
            reply=self._last_reply,
            spending=Spending.total(self._spending),
        )

    def _never_there(self, message: str) -> ModelError:
        return ModelError(
            f"{self._spec.name} gave no reply in {self._transient} attempts; the last one: {message}."
        )

    @property
    def was_cancelled(self) -> bool:
        """Whether the caller went away from the last of them, or before another one could be made."""
        if self._last is None or self._last.error is None:
            return False
        return self._last.error.kind == "cancelled" or self.verdict() is None


def _refusal(spec: ModelSpec, error: CallError) -> CrmAssetsError:
    if error.kind == "authentication":
        key = f"the key in {spec.key_variable}" if spec.key_variable else "the key"
        return ConfigError(f"{spec.name} is not open to {key} ({error.message}); check it and its account.")
    if error.kind == "context_window":
        return ModelError(f"The request is too long for {spec.name}: {error.message}.")
    return ModelError(f"{spec.name} refused the request: {error.message}.")
