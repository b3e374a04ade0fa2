"""Models that come along: they need no key and no network, and always say the same.

They are honest baselines, not mocks: the student is a small rule-based chat model that really reads its
messages and tool schemas, and makes mistakes; teacher, judge and learner reach their verdicts from what
they are shown. None of them sees more than its request.
"""

from __future__ import annotations

from crm_assets.offline_models.dispatch import MODELS, answer
from crm_assets.offline_models.faults import FaultKind, FaultPlan
from crm_assets.offline_models.provider import register_offline_provider
from crm_assets.offline_models.requests import OfflineRequest, count_tokens, read_messages
from crm_assets.offline_models.server import OfflineServer, serve

__all__ = [
    "MODELS",
    "FaultKind",
    "FaultPlan",
    "OfflineRequest",
    "OfflineServer",
    "answer",
    "count_tokens",
    "read_messages",
    "register_offline_provider",
    "serve",
]
