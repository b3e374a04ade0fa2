"""Queries to git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["ask_git"]

_SECONDS = 20


def ask_git(folder: Path, *arguments: str) -> str | None:
    """Return git's output; None if git is missing, fails, or `folder` is outside of a repository."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments and a path, no shell
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
