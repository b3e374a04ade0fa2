"""The errors that a user of crm_assets can act on.

An error derived from `CrmAssetsError` is shown as its message, one sentence without a traceback. Any other
error is a bug of crm_assets and is shown with its traceback.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConfigError",
    "CrmAssetsError",
    "InfrastructureError",
    "InputError",
    "UnfinishedError",
    "first_line",
    "last_line",
]


class CrmAssetsError(Exception):
    """An expected failure; its message is one sentence that says what to do."""

    exit_code = 1


class InputError(CrmAssetsError):
    """The user's input (a file, a key, an option) cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file or environment variable is missing, unknown or wrong."""


class UnfinishedError(CrmAssetsError):
    """A run has ended with most of its sessions not run; they are run when it goes on."""


class InfrastructureError(CrmAssetsError):
    """A database, disk or network failed; never counted against the agent."""

    exit_code = 3


def first_line(error: object) -> str:
    """Return the first line of an error's message, or the name of its type if it has none.

    What Postgres adds to a line (its severity, detail and hint) is part of it.
    """
    return _lines(error)[0]


def last_line(error: object) -> str:
    """Return the last line: where a driver names each address it tried, the one that decided."""
    return _lines(error)[-1]


def _lines(error: object) -> list[str]:
    if said := _said_by_postgres(getattr(error, "diag", None)):
        return [said]
    lines: list[str] = []
    for line in (str(error).strip() or type(error).__name__).splitlines():
        # libpq's and the server's additions: "DETAIL:  …", "\tIs the server running …"
        if lines and line.startswith(("\t", "DETAIL:", "HINT:")):
            lines[-1] = f"{lines[-1].rstrip('.')}. {' '.join(line.split())}"
        else:
            lines.append(line.strip())
    return lines


def _said_by_postgres(diagnostic: Any) -> str | None:
    """Return severity, message, detail and hint of a driver's `Diagnostic`; None if it has none."""
    message = getattr(diagnostic, "message_primary", None)
    if not message:
        return None
    parts = (message, diagnostic.message_detail, diagnostic.message_hint)
    said = "; ".join(" ".join(part.split()).rstrip(".") for part in parts if part)
    return f"{diagnostic.severity}: {said}"
