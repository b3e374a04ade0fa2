"""The CRM: eight entities, 28 tools, and sandboxes to use them in.

Independent of agents, verification and Dagster.
"""

from __future__ import annotations

from crm_assets.crm.documentation import tools_markdown
from crm_assets.crm.entities import ENTITIES, SEED_ORDER, Entity
from crm_assets.crm.errors import ErrorKind, SeedError, ToolError
from crm_assets.crm.fields import parse_uuid
from crm_assets.crm.pool import SandboxPool
from crm_assets.crm.provision import SCHEMA_VERSION, SESSION_ROLE
from crm_assets.crm.sandbox import Rows, Sandbox, Session, deterministic_ids
from crm_assets.crm.seeds import SeedRows, created_ids, make_seed_rows, seed_fields
from crm_assets.crm.tool import Tool, ToolAction
from crm_assets.crm.tools import TOOLS, find_tool, tool_names

__all__ = [
    "ENTITIES",
    "SCHEMA_VERSION",
    "SEED_ORDER",
    "SESSION_ROLE",
    "TOOLS",
    "Entity",
    "ErrorKind",
    "Rows",
    "Sandbox",
    "SandboxPool",
    "SeedError",
    "SeedRows",
    "Session",
    "Tool",
    "ToolAction",
    "ToolError",
    "created_ids",
    "deterministic_ids",
    "find_tool",
    "make_seed_rows",
    "parse_uuid",
    "seed_fields",
    "tool_names",
    "tools_markdown",
]
