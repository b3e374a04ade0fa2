"""The command line with a Ctrl-C that comes as soon as a run's first results are written."""

from __future__ import annotations

__all__ = ["TO_THE_GROUP", "TO_THE_PROCESS", "program"]

TO_THE_GROUP = "os.killpg(os.getpgrp(), signal.SIGINT)"
"""As a terminal does it; the process needs a group of its own."""
TO_THE_PROCESS = "os.kill(os.getpid(), signal.SIGINT)"

_PROGRAM = """
import os, signal
from crm_assets.cli import main
from crm_assets.engine import worker
from crm_assets.engine.checkpoint import Checkpoint

worker._DELIVER_SECONDS = 0.0  # in this process; workers of their own deliver now and then
# A shell that runs the tests in the background has them ignore SIGINT, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
append = Checkpoint.append

def append_and_interrupt(results, entries):
    append(results, entries)
    Checkpoint.append = append
    {interrupt}

Checkpoint.append = append_and_interrupt
main()
"""


def program(interrupt: str) -> str:
    """Return what `python -c` runs; its arguments are those of `crm-assets`."""
    return _PROGRAM.format(interrupt=interrupt)
