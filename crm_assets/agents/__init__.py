"""Agents of your own: the interface they are written for, and the processes that they run in."""

from crm_assets.agents.interface import AsyncCrm, Crm, ToolRefused

__all__ = ["AsyncCrm", "Crm", "ToolRefused"]
