"""Audit: the origin of a finished baseline, and checks that its files still agree with it."""

from __future__ import annotations

from crm_assets.workspace.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest

__all__ = ["MANIFEST_NAME", "Manifest", "read_manifest", "write_manifest"]
