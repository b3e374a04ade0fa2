"""An agent of samples.py, as each of the types has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from crm_assets.agents.command import CommandHost
from crm_assets.agents.links import AgentHost
from crm_assets.agents.python import PythonHost
from crm_assets.agents.service import ServiceHost
from tests.projects import REPOSITORY

__all__ = ["KINDS", "Kind", "hosting"]

Kind = Literal["python", "mcp", "http"]
KINDS: tuple[Kind, ...] = ("python", "mcp", "http")
DRIVER = "tests.agents.driver"


@contextmanager
def hosting(kind: Kind, agent: str, environment: Mapping[str, str] = os.environ) -> Iterator[AgentHost]:
    """Return a host; what it needs beside itself ends with the block."""
    if kind == "python":
        yield PythonHost(f"tests.agents.samples:{agent}", search=[REPOSITORY], environment=environment)
    elif kind == "mcp":
        yield CommandHost([sys.executable, "-m", DRIVER, agent], folder=REPOSITORY, environment=environment)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            process = subprocess.Popen(
                [sys.executable, "-m", DRIVER, agent, str(listening.fileno())],
                pass_fds=[listening.fileno()],
                cwd=REPOSITORY,
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            port = listening.getsockname()[1]
        try:
            yield ServiceHost(f"http://127.0.0.1:{port}/turn")
        finally:
            process.kill()
            process.wait()
