"""What can come of asking a model, other than a reply."""

from __future__ import annotations

from crm_assets.errors import CrmAssetsError, InfrastructureError
from crm_assets.llm.messages import ChatReply
from crm_assets.llm.spending import Spending

__all__ = ["BudgetExhausted", "MalformedReply", "ModelError"]


class ModelError(InfrastructureError):
    """A model could not be asked, or gave no reply, however often it was tried."""


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


class BudgetExhausted(CrmAssetsError):
    """The run's budget is spent; nothing more is asked. No failure of anything."""

    exit_code = 4
