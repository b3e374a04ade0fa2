"""What the rest of crm_assets asks models through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from crm_assets.llm.messages import ChatReply, ChatRequest
from crm_assets.llm.spending import Spending

__all__ = ["ROLES", "Answer", "Caller", "Models", "ReplyCheck", "Role"]

Role = Literal["student", "teacher", "judge", "learner", "probe", "turn_judge"]
"""Who asks: works, validates, judges the session's reward, learns from it, chooses a mode, judges turns."""

ROLES: tuple[Role, ...] = get_args(Role)

ReplyCheck = Callable[[ChatReply], "str | None"]
"""Says what is wrong with the form of a reply, None for nothing."""


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
        """A reply to `request`, asked again as often as limits allow while calls fail.

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
        """What a session has cost so far, by role; earlier starts of the same run included."""
