"""What live and recorded runs share in asking a model.

Attempts that a ledger holds come first; what follows them is for the kind of run to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crm_assets.llm.attempts import Attempts
from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.interface import Answer, Caller, ReplyCheck, Role
from crm_assets.llm.ledger import CallKey, Ledger
from crm_assets.llm.messages import ChatRequest
from crm_assets.llm.retries import RetryPolicy
from crm_assets.llm.spending import Spending

__all__ = ["Call", "RecordingModels"]

_SESSIONS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Call:
    """One call of a session."""

    caller: Caller
    request: ChatRequest
    check: ReplyCheck | None
    ordinal: int

    @property
    def key(self) -> CallKey:
        """What tells it from the session's other calls."""
        return self.caller.role, self.request.sha256, self.ordinal


class RecordingModels(ABC):
    """What live and recorded runs share. Belongs to one event loop."""

    def __init__(self, ledger: Ledger | None, retries: RetryPolicy) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self._retries = retries
        self._asked: OrderedDict[str, dict[tuple[Role, str], int]] = OrderedDict()

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        """A reply to `request`, asked again as often as limits allow while calls fail.

        Args:
            caller: on whose account.
            request: the question.
            check: replies of whose form it complains are asked for again.

        Raises:
            ModelError: no reply could be had.
            MalformedReply: `check` complained of every reply; carries the last one.
            BudgetExhausted: the run's budget is spent.
            ConfigError: the key is missing or refused, or a budget in dollars meets an unknown price.
            InfrastructureError: the ledger could not be written.
        """
        call = Call(caller, request, check, self._ordinal(caller, request))
        attempts = Attempts(request.model, self._retries)
        for entry in self._recorded(call):
            if answer := attempts.add(entry):
                return answer
        return await self._go_on(call, attempts)

    def spent(self, session: str) -> Mapping[Role, Spending]:
        """What a session has cost so far, by role; earlier starts of the same run included."""
        return self.ledger.spent(session)

    def note(self, session: str, kind: str, document: dict[str, Any]) -> None:
        """Record what a session starts from, so that it can start from the same again."""
        self.ledger.note(session, kind, document)

    @abstractmethod
    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """What a session started from when it was recorded; None if it was not."""

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
        """Which time this is that the session asks this; what has long been quiet is forgotten."""
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
