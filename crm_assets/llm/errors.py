"""What can come of asking a model, other than a reply."""

from __future__ import annotations

from crm_assets.errors import CrmAssetsError, InfrastructureError

__all__ = ["BudgetExhausted", "MalformedReply", "ModelError"]


class ModelError(InfrastructureError):
    """A model could not be asked, or gave no reply, however often it was tried."""


class MalformedReply(ModelError):
    """A model kept answering in a form that cannot be used."""


class BudgetExhausted(CrmAssetsError):
    """The run's budget is spent; nothing more is asked. No failure of anything."""

    exit_code = 4
