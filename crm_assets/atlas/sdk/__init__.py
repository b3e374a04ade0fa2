"""`engine: sdk`: the same tasks through the Atlas SDK (`arc-atlas` 0.1.16, extra `atlas-sdk`).

The SDK is imported when its runner is made, not before.
"""

from __future__ import annotations

from crm_assets.atlas.sdk.package import require_sdk
from crm_assets.atlas.sdk.session_runner import SdkRunner

__all__ = ["SdkRunner", "require_sdk"]
