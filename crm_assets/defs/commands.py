"""Runs a command of crm_assets within a run of Dagster, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from crm_assets.errors import InfrastructureError, InputError

__all__ = ["run_command"]

_STOP_SECONDS = 30.0


def run_command(words: Sequence[str], root: Path, say: Callable[[str], None]) -> None:
    """Run `crm-assets` with `words` in the project `root`; each line of its output is said.

    Raises:
        InputError: it refused its input.
        InfrastructureError: it failed otherwise.
    """
    process = subprocess.Popen(  # noqa: S603  (our own command; no shell)
        [sys.executable, "-m", "crm_assets", *words],
        cwd=root,
        env={**os.environ, "CRM_ASSETS_HOME": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = reason = ""
    try:
        assert process.stdout is not None  # as asked for
        for line in process.stdout:
            last = line.strip() or last
            reason = last if last.startswith("Error: ") else reason
            say(line.rstrip())
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()  # it finishes what it writes, as with Ctrl-C
            process.wait(timeout=_STOP_SECONDS)
    if code:
        kind = InputError if code == InputError.exit_code else InfrastructureError
        told = (reason or last).removeprefix("Error: ")
        raise kind(told or f"crm-assets {words[0]} ended with exit code {code}; go on with it.")
