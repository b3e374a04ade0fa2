"""The optional package inspect-ai: whether it is there, and how to install it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from crm_assets.errors import InputError

__all__ = ["inspect_is_installed", "require_inspect", "viewer_files"]


def inspect_is_installed() -> bool:
    """Tell if inspect-ai is there, without importing it."""
    return find_spec("inspect_ai") is not None


def require_inspect() -> Path:
    """Return the folder of inspect-ai, without importing it: that takes seconds.

    Raises:
        InputError: it is not installed.
    """
    found = find_spec("inspect_ai")
    if found is None or found.origin is None:
        raise InputError(
            "Inspect is not installed: run `pip install 'crm-assets[inspect]'`, with Python 3.11 or newer."
        )
    return Path(found.origin).parent


def viewer_files() -> Path:
    """Return the folder of Inspect's viewer: an index.html and its assets.

    Raises:
        InputError: inspect-ai is not installed, or without its viewer.
    """
    folder = require_inspect() / "_view" / "dist"
    if not (folder / "index.html").is_file():
        raise InputError("Inspect has no viewer here: install it again with `pip install inspect-ai`.")
    return folder
