"""Where a baseline came from, and whether its files still say so."""

from __future__ import annotations

from crm_assets.workspace.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest

__all__ = ["MANIFEST_NAME", "Manifest", "read_manifest", "write_manifest"]
