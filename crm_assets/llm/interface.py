"""Defines what the rest of crm_assets asks models through, and what can come of it other than a reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from crm_assets.errors import InfrastructureError
from crm_assets.llm.messages import ChatReply, ChatRequest
from crm_assets.llm.spending import BudgetExhausted, Spending

__all__ = [
    "ROLES",
    "Answer",
    "BudgetExhausted",
    "Caller",
    "ContextOverflow",
    "MalformedReply",
    "ModelError",
    "Models",
    "RefusedRequest",
    "ReplyCheck",
    "Role",
]

Role = Literal["student", "teacher", "judge", "learner", "probe", "turn_judge"]
"""Role of a caller: works, validates, judges the reward, learns, chooses a mode, or judges turns."""

ROLES: tuple[Role, ...] = get_args(Role)

ReplyCheck = Callable[[ChatReply], "str | None"]
"""Says what is wrong with the form of a reply, None for nothing."""


class ModelError(InfrastructureError):
    """A model could not be asked, or gave no reply, however often it was tried."""


class ContextOverflow(ModelError):
    """A request is longer than the model's context."""


class RefusedRequest(ModelError):
    """A server refuses a request, and would again."""


class MalformedReply(ModelError):
    """A model kept answering in a form that cannot be used."""

    def __init__(
        self, message: str, *, reply: ChatReply | None = None, spending: Spending | None = None
    ) -> None:
        super().__init__(message)
        self.reply = reply
        """The last of the replies; None where not even that could be read."""
        self.spending = spending
        """Of all attempts, as far as the caller is to count them."""


@dataclass(frozen=True)
class Caller:
    """On whose account a call goes."""

    session: str
    """Key of the session (see `atlas.session_key`)."""
    role: Role


@dataclass(frozen=True)
class Answer:
    """A reply, and what it took to get it."""

    reply: ChatReply
    spending: Spending
    """Of all attempts, failed ones included."""


class Models(Protocol):
    """Asks models, whatever stands behind: a provider, a recorded run, a test's script."""

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        """Return a reply to `request`, asked again as often as limits allow while calls fail.

        Args:
            caller: on whose account.
            request: the question.
            check: replies of whose form it complains are asked for again.

        Raises:
            ModelError: no reply could be had.
            MalformedReply: `check` complained of every reply.
            BudgetExhausted: the run's budget is spent.
        """

    def spent(self, session: str) -> Mapping[Role, Spending]:
        """Return what a session has cost so far, by role; earlier starts of the same run included."""
