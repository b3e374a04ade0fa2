"""The errors a user of crm_assets can act on.

Everything that derives from `CrmAssetsError` carries one clear sentence and no traceback reaches the
terminal for it. Anything else that escapes is a bug of ours and is shown whole.
"""

from __future__ import annotations

__all__ = ["ConfigError", "CrmAssetsError", "InfrastructureError", "InputError"]


class CrmAssetsError(Exception):
    """An expected failure; `str()` of it is one sentence that says what to do."""

    exit_code = 1


class InputError(CrmAssetsError):
    """What the user gave (a file, a key, an option) cannot be used as it is."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file or environment variable is missing, unknown or wrong."""


class InfrastructureError(CrmAssetsError):
    """Something the run stands on failed (database, disk, network); never the agent's fault."""

    exit_code = 3
