"""The agent as the SDK's Python adapter calls it: `agent.import_path` of the SDK's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crm_assets.atlas.sdk.session import current_session

__all__ = ["work"]


async def work(prompt: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Plan (mode coach), or run the student through the whole conversation.

    Args:
        prompt: the SDK's messages as one text.
        metadata: `mode: planning`, or the step that is to be done.

    Raises:
        CrmAssetsError: the session cannot go on; its flow learns of it from the session.
    """
    session = current_session()
    if metadata.get("mode") == "planning":
        return await session.plan(prompt)
    return await session.attempt(prompt, metadata["step_payload"])
