"""Holds what live and recorded runs share in asking a model, and asks recorded runs.

Attempts that a ledger holds come first; what follows them is for the kind of run to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crm_assets.errors import ConfigError, CrmAssetsError
from crm_assets.llm.entries import CallError, LedgerEntry, SpendingSums
from crm_assets.llm.failures import RetryPolicy, is_transient
from crm_assets.llm.interface import (
    Answer,
    Caller,
    ContextOverflow,
    MalformedReply,
    ModelError,
    RefusedRequest,
    ReplyCheck,
    Role,
)
from crm_assets.llm.ledger import CallKey, Ledger, Recording
from crm_assets.llm.messages import ChatReply, ChatRequest
from crm_assets.llm.spending import Spending

__all__ = ["Attempts", "Call", "RecordingModels", "ReplayModels"]

_SESSIONS_AT_A_TIME = 4096
_MOST_UNSUPPORTED = 8
"""Parameters that one call may leave out, one after the other."""


@dataclass(frozen=True)
class Call:
    """One call of a session."""

    caller: Caller
    request: ChatRequest
    check: ReplyCheck | None
    ordinal: int

    @property
    def key(self) -> CallKey:
        """Key of the call among the session's calls."""
        return self.caller.role, self.request.sha256, self.ordinal


class Attempts:
    """Follows the attempts of one call, recorded or made now: what they cost, and what they come to."""

    def __init__(self, request: ChatRequest, policy: RetryPolicy) -> None:
        self._request = request
        self._policy = policy
        self._sums = SpendingSums()
        self._made = 0
        self._last: LedgerEntry | None = None
        self._last_reply: ChatReply | None = None
        self._malformed = 0
        self._unsupported = 0
        self._transient = 0

    def __len__(self) -> int:
        return self._made

    @property
    def failures_in_transport(self) -> int:
        """Number of them that failed for transient reasons."""
        return self._transient

    @property
    def complaint(self) -> tuple[ChatReply, str] | None:
        """The last reply and what was wrong with it; None unless it was malformed."""
        error = self._last.error if self._last else None
        reply = self._last.chat_reply if self._last else None
        return (reply, error.message) if error and reply and error.kind == "malformed" else None

    def add(self, entry: LedgerEntry) -> Answer | None:
        """Count an attempt; returns the answer if it gave a usable reply."""
        self._sums.add(entry)
        self._made += 1
        self._last = entry
        reply = entry.chat_reply
        if reply is not None:
            self._last_reply = reply
        if entry.error is None and reply is not None:
            return Answer(reply, self._sums.total())
        if entry.error is not None:
            self._malformed += entry.error.kind == "malformed"
            self._unsupported += entry.error.kind == "unsupported"
            self._transient += is_transient(entry.error.kind)
        return None

    def start_afresh(self) -> None:
        """Give the transport its full number of attempts again, in a later start of the run."""
        self._transient = 0
        kind = self._last.error.kind if self._last is not None and self._last.error is not None else None
        if kind not in (None, "malformed", "length"):
            self._last = None

    def forgive_outage(self) -> None:
        """Count no attempt before the last one: the server was away, and is back."""
        kind = self._last.error.kind if self._last is not None and self._last.error is not None else None
        self._transient = int(kind is not None and is_transient(kind))

    def verdict(self) -> CrmAssetsError | None:
        """Return why no further attempt is to be made; None while one is."""
        error = self._last.error if self._last else None
        if error is None:
            return None
        if error.kind in ("malformed", "length"):
            done = error.kind == "length" or self._malformed >= self._policy.malformed_attempts
            return self._never_of_use(error.message) if done else None
        if error.kind == "unsupported" and self._unsupported < _MOST_UNSUPPORTED:
            return None
        if is_transient(error.kind):
            done = self._transient >= self._policy.attempts
            return self._never_there(error.message) if done else None
        return _refusal(self._request, error)

    def _never_of_use(self, message: str) -> MalformedReply:
        return MalformedReply(
            f"{self._request.model.name} gave no reply of the form asked for in {len(self)} attempts; the "
            f"last one: {message}.",
            reply=self._last_reply,
            spending=self._sums.total(),
        )

    def _never_there(self, message: str) -> ModelError:
        return ModelError(
            f"{self._request.model.name} gave no reply in {self._transient} attempts; the last one: "
            f"{message}."
        )

    @property
    def was_cancelled(self) -> bool:
        """Tell if the caller went away from the last of them, or before another one could be made."""
        if self._last is None or self._last.error is None:
            return False
        return self._last.error.kind == "cancelled" or self.verdict() is None


def _refusal(request: ChatRequest, error: CallError) -> CrmAssetsError:
    spec = request.model
    if error.kind == "authentication":
        key = f"the key in {spec.key_variable}" if spec.key_variable else "the key"
        return ConfigError(f"{spec.name} is not open to {key} ({error.message}); check it and its account.")
    if error.kind == "context_window":
        return ContextOverflow(f"The request is too long for {spec.name}: {error.message}.")
    if error.kind == "too_large":
        return ModelError(f"The request is too large for the account at {spec.name}: {error.message}.")
    if error.kind == "content_filter":
        return ModelError(f"{spec.name} withheld its reply: {error.message}.")
    return RefusedRequest(f"{spec.name} refused the request: {error.message}.")


class RecordingModels(ABC):
    """Asks models and records it. Belongs to one event loop."""

    def __init__(self, ledger: Ledger | None, retries: RetryPolicy) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self._retries = retries
        self._asked: OrderedDict[str, dict[tuple[Role, str], int]] = OrderedDict()

    @property
    def progress(self) -> str | None:
        """Words for a line of progress; None where no call waits for a server."""
        return None

    def stop(self) -> None:  # noqa: B027  (only those that wait for servers have something to do)
        """Let callers that are cancelled from now on wait for the answers they have asked for."""

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        """Return a reply to `request` (see `Models.complete`).

        Raises:
            ConfigError: the key is missing or refused, the server ignores tools, or a budget meets an
                unknown price or usage.
            InfrastructureError: the ledger could not be written.
        """
        call = Call(caller, request, check, self._ordinal(caller, request))
        attempts = Attempts(request, self._retries)
        for entry in self._recorded(call):
            if answer := attempts.add(entry):
                return answer
        return await self._go_on(call, attempts)

    @asynccontextmanager
    async def session(self, key: str) -> AsyncIterator[None]:
        """Enter a session, by its key in the ledger; what it was answered before answers it again.

        Raises:
            BudgetExhausted: the budget does not suffice for it.
        """
        self._asked.pop(key, None)
        self.ledger.begin_again(key)
        yield

    def spent(self, session: str) -> Mapping[Role, Spending]:
        """Return what a session has cost so far, by role; earlier starts of the same run included."""
        return self.ledger.spent(session)

    def note(self, session: str, kind: str, document: dict[str, Any]) -> None:
        """Record what a session starts from, so that it can start from the same again."""
        self.ledger.note(session, kind, document)

    @abstractmethod
    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """Return what a session started from when it was recorded; None if it was not."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections; the ledger stays open."""

    @abstractmethod
    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        """The attempts that were made before, in order."""

    @abstractmethod
    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        """Get the answer that those before did not give, or say why there is none."""

    def _ordinal(self, caller: Caller, request: ChatRequest) -> int:
        """Repetition of this request in the session; after a long quiet time it starts anew."""
        asked = self._asked.get(caller.session)
        if asked is None:
            asked = self._asked[caller.session] = {}
            if len(self._asked) > _SESSIONS_AT_A_TIME:
                self._asked.popitem(last=False)
        else:
            self._asked.move_to_end(caller.session)
        key = (caller.role, request.sha256)
        asked[key] = asked.get(key, 0) + 1
        return asked[key]


class ReplayModels(RecordingModels):
    """Answers each call with what the recorded run was answered, failures and costs included.

    There is no network and no waiting. A call that its caller gave up on when it was recorded (a timeout
    around it) ends in `TimeoutError`, as it did for the caller then.
    """

    def __init__(
        self, recorded: Path, *, ledger: Ledger | None = None, retries: RetryPolicy | None = None
    ) -> None:
        """Read the ledger of the recorded run.

        Args:
            recorded: that ledger.
            ledger: where the attempts are recorded again; left out, only sums are kept.
            retries: the policy of the recorded run.

        Raises:
            InputError: there is no such file, or a line is not a ledger's entry; names file and line.
        """
        super().__init__(ledger, retries or RetryPolicy())
        self._recording = Recording.read(recorded)

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """Return what a session started from in the recorded run; None if that was not noted."""
        return self._recording.noted(session, kind)

    async def aclose(self) -> None:
        """There is nothing to close; the ledger stays open."""

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        # An interrupted replay has recorded the first of them before.
        known = len(self.ledger.earlier_attempts(call.caller.session, call.key))
        for number, entry in enumerate(self._recording.attempts(call.caller.session, call.key)):
            if number >= known:
                self.ledger.append(entry)
            yield entry

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        if attempts.was_cancelled:
            raise TimeoutError(f"The recorded run did not wait for {call.request.model.name}.")
        if (error := attempts.verdict()) is not None:
            raise error
        raise ModelError(
            f"The recorded run holds no such call of the {call.caller.role} in session "
            f"{call.caller.session}: prompts, configuration or code differ from when it was recorded."
        )
