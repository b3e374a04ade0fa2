"""`engine: sdk`: the same tasks through the Atlas SDK (`arc-atlas` 0.1.16, extra `atlas-sdk`).

The SDK is imported when a flow is made, not before.
"""

from __future__ import annotations

from crm_assets.atlas.sdk.flow import SdkFlow
from crm_assets.atlas.sdk.package import require_sdk

__all__ = ["SdkFlow", "require_sdk"]
