"""Chooses the way to a model: OpenAI's API directly, litellm, or the models that come along."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import Protocol

from crm_assets.llm.litellm_backend import LitellmBackend
from crm_assets.llm.messages import ChatRequest
from crm_assets.llm.replies import Completion
from crm_assets.llm.spec import ModelSpec
from crm_assets.llm.wire import OpenAIBackend

__all__ = ["Backend", "Backends", "OfflineBackend"]


class Backend(Protocol):
    """Sends requests. Belongs to one event loop."""

    async def send(self, request: ChatRequest, timeout_seconds: float) -> Completion:
        """Send a request, once, and wait for what comes, no longer than the timeout.

        Raises:
            ConfigError: the model's key is missing; the variable is named.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class OfflineBackend:
    """Asks the models that come along, which answer at once."""

    async def send(self, request: ChatRequest, timeout_seconds: float) -> Completion:
        """Answer a request."""
        await asyncio.sleep(0)  # other sessions get their turn, as with any model
        # Not imported above: these models are programs on top of this package.
        reply = importlib.import_module("crm_assets.offline_models").answer_request(request)
        return Completion(reply, usage=reply.usage, cost_usd=0.0)

    async def aclose(self) -> None:
        """Nothing is open."""


class Backends:
    """All ways to models; each is set up when first needed."""

    def __init__(self, environment: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._direct = OpenAIBackend(environment, redact)
        self._litellm = LitellmBackend(environment, redact)
        self._offline = OfflineBackend()

    def of(self, spec: ModelSpec) -> Backend:
        """Return the way to a model."""
        if spec.is_offline:
            return self._offline
        return self._direct if spec.is_direct else self._litellm

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        await self._litellm.aclose()
