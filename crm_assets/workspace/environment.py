"""The variables of a project's `.env` file."""

from __future__ import annotations

import io
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from crm_assets.errors import ConfigError

__all__ = ["read_env_file"]


def read_env_file(path: Path) -> dict[str, str | None]:
    """Return the variables of a `.env` file; none where there is no file.

    Raises:
        ConfigError: the file is not UTF-8, or a line is not of the form NAME=value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            # Not the line itself: it may hold a password.
            raise ConfigError(f"{path}, line {binding.original.line}: write it as NAME=value.")
    return dict(dotenv_values(stream=io.StringIO(text)))
