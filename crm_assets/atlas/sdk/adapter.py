"""The agent that the SDK's Python adapter calls: `agent.import_path` in the SDK's configuration."""

from __future__ import annotations

from crm_assets.atlas.sdk.package import SdkMapping
from crm_assets.atlas.sdk.session import PlanDocument, StepAnswer, current_session

__all__ = ["work"]


async def work(prompt: str, metadata: SdkMapping) -> PlanDocument | StepAnswer:
    """Plan (mode coach), or run the student through the whole conversation.

    Args:
        prompt: the SDK's messages as one text.
        metadata: `mode: planning`, or the step to do.

    Raises:
        CrmAssetsError: the session cannot continue; its flow reads the reason from the session.
    """
    session = current_session()
    if metadata.get("mode") == "planning":
        return await session.plan(prompt)
    return await session.attempt(prompt, metadata["step_payload"])
