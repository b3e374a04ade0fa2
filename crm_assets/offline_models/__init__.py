"""Offline models: rule-based, without key or network, and deterministic.

They are real baselines, not mocks: the student is a small chat model that reads its messages and tool
schemas, and makes mistakes; teacher, judge and learner decide by their prompts. None of them sees more
than its request.
"""

from __future__ import annotations

from crm_assets.offline_models.dispatch import MODELS, answer, answer_request
from crm_assets.offline_models.faults import FaultKind, FaultMix
from crm_assets.offline_models.requests import OfflineRequest, count_tokens, read_messages
from crm_assets.offline_models.server import OfflineServer, serve

__all__ = [
    "MODELS",
    "FaultKind",
    "FaultMix",
    "OfflineRequest",
    "OfflineServer",
    "answer",
    "answer_request",
    "count_tokens",
    "read_messages",
    "serve",
]
