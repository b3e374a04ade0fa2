"""Agents of type `python`: each conversation has a process with the agent's module imported."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from crm_assets.agents.links import AgentBroken, LinkEnd
from crm_assets.agents.messages import Began, Call, Failed, FromAgent, Reply, ToAgent, decode, encode
from crm_assets.agents.process import END_SECONDS, AgentProcess, ProcessHost

__all__ = ["PythonHost"]

_decoder = msgspec.json.Decoder(FromAgent)


class PythonHost:
    """Has an agent's module imported, and makes a fork for each conversation (see `AgentHost`)."""

    def __init__(self, factory: str, *, search: Sequence[Path], environment: Mapping[str, str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            factory: `module:factory`.
            search: folders where modules are looked for first.
            environment: of the agents' processes.
        """
        path = os.pathsep.join([*map(str, search), environment.get("PYTHONPATH", "")])
        variables = {**environment, "PYTHONPATH": path.rstrip(os.pathsep)}
        self.processes = ProcessHost(factory, [factory], environment=variables, folder=None)

    async def open(self) -> PythonAgent:
        """Return a new process with the agent's module imported.

        Raises:
            ConfigError: the module cannot be imported, or has no such factory.
        """
        process = AgentProcess(self.processes)
        await self.processes.fork(process)
        return PythonAgent(process)

    async def aclose(self) -> None:
        """End all processes."""
        await self.processes.aclose()


class PythonAgent:
    """An agent in a process of its own (see `AgentLink`)."""

    def __init__(self, process: AgentProcess) -> None:
        self._process = process

    @property
    def output(self) -> str:
        """Return the beginning of what the agent wrote to standard output and error."""
        return self._process.output

    def send(self, message: ToAgent) -> None:
        """Send a message."""
        self._process.write(encode(message))

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message.

        Raises:
            AgentBroken: it ended, wrote too much, or sent what is no message.
        """
        while True:
            try:
                message = decode(_decoder, await self._process.read())
            except ValueError:
                raise AgentBroken("its process sent what is no message") from None
            if not isinstance(message, Began):
                return message
            self._process.began(message.pid)

    async def end(self, *, patiently: bool) -> LinkEnd:
        """End the process and all that it started (see `AgentLink.end`)."""
        late = None
        if patiently:
            self._process.write_eof()
            with suppress(AgentBroken, asyncio.TimeoutError):
                late = await asyncio.wait_for(self._late(), END_SECONDS)
        return LinkEnd(await self._process.end(), late)

    async def _late(self) -> str | None:
        """Return what the agent did after its last turn and may not."""
        while True:
            message = await self.receive()
            if isinstance(message, Failed):
                return message.reason
            if isinstance(message, Reply):
                return f"it replied again to turn {message.number}, which had ended"
