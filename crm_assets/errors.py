"""The errors a user of crm_assets can act on.

Everything that derives from `CrmAssetsError` carries one clear sentence and no traceback reaches the
terminal for it. Anything else that escapes is a bug of ours and is shown whole.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "CrmAssetsError",
    "InfrastructureError",
    "InputError",
    "first_line",
    "last_line",
]


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


def first_line(error: object) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return _lines(error)[0]


def last_line(error: object) -> str:
    """Return the last line: where a driver names each address it tried, the one that decided."""
    return _lines(error)[-1]


def _lines(error: object) -> list[str]:
    return [line.strip() for line in (str(error).strip() or type(error).__name__).splitlines()]
