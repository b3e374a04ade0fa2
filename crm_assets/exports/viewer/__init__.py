"""Inspect's viewer over the runs of a project, on a server of our own that starts at once."""

from __future__ import annotations

from crm_assets.exports.viewer.logs import ShownRun
from crm_assets.exports.viewer.server import serve

__all__ = ["ShownRun", "serve"]
