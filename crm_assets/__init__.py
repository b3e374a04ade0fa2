"""crm_assets: baselines you can trust for LLM agents on CRM work."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
