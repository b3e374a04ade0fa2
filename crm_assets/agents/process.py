"""Processes of agents: one that has the agent's module imported, and a fork of it for each conversation."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from crm_assets.agents.messages import Began, Call, Failed, FromAgent, Reply, ToAgent, encode
from crm_assets.concurrency import process_lives
from crm_assets.errors import ConfigError

__all__ = ["AgentBroken", "AgentHost", "AgentProcess"]

_START_SECONDS = 120.0
_END_SECONDS = 5.0
_LOOK_SECONDS = 0.002
_MESSAGE_BYTES = 16 << 20
_KEPT_OUTPUT = 8 << 10
_MOST_OUTPUT = 1 << 20
_SHOWN_ERRORS = 2000
_decoder = msgspec.json.Decoder(FromAgent)


class AgentBroken(Exception):
    """Raised when an agent cannot go on; says why in a clause."""


class AgentHost:
    """Has an agent's module imported, and makes processes of it. Belongs to one event loop."""

    def __init__(self, factory: str, *, search: Sequence[Path], environment: Mapping[str, str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            factory: `module:factory`.
            search: folders where modules are looked for first.
            environment: of the agents' processes.
        """
        self._factory = factory
        self._search = [str(folder) for folder in search]
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._pids: set[int] = set()
        self._unknown = 0
        """Processes that have not yet said which they are."""

    async def fork(self) -> AgentProcess:
        """Return a new process with the agent's module imported.

        Raises:
            ConfigError: the module cannot be imported, or has no such factory.
        """
        async with self._starting:
            if self._control is None or (self._process is not None and self._process.poll() is not None):
                await self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._control, [b"f"], [theirs.fileno(), writing])
        finally:
            theirs.close()
            os.close(writing)
        self._unknown += 1
        process = AgentProcess(self)
        await process.connect(ours, reading)
        return process

    async def _start(self) -> None:
        """Start the process that imports the module, and wait until it has."""
        ours, theirs = socket.socketpair()
        search = os.pathsep.join([*self._search, self.environment.get("PYTHONPATH", "")])
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(  # noqa: S603  (the factory's name is an argument)
                [sys.executable, "-m", "crm_assets.agents.host", self._factory, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**self.environment, "PYTHONPATH": search.rstrip(os.pathsep)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the harness to handle
            )
            theirs.close()
            ours.setblocking(False)
            try:
                said = await asyncio.wait_for(
                    asyncio.get_running_loop().sock_recv(ours, _MESSAGE_BYTES), _START_SECONDS
                )
                message = _decoder.decode(said) if said else Failed("it ended while it was imported")
            except asyncio.TimeoutError:
                message = Failed(f"it is not imported after {_START_SECONDS:.0f} s")
            if isinstance(message, Failed):
                self._process.kill()
                self._process.wait()
                ours.close()
                raise ConfigError(
                    f"The agent {self._factory} cannot be used: {message.reason}.{_last_words(output)}"
                )
        ours.setblocking(True)  # a fork is asked for in one small message
        self._control = ours

    def began(self, pid: int) -> None:
        """Remember which process a fork is."""
        self._unknown -= 1
        self._pids.add(pid)

    def ended(self, pid: int | None) -> int:
        """End what an ended conversation left running; return the number of processes."""
        if pid is None:
            self._unknown -= 1
        else:
            self._pids.discard(pid)
        return self._end_strays()

    def _end_strays(self) -> int:
        """End processes that no conversation has: they come back to the host when their parents end."""
        if self._process is None or self._unknown:
            return 0
        strays = _children(self._process.pid) - self._pids
        for pid in strays:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return len(strays)

    async def aclose(self) -> None:
        """End all processes."""
        self._unknown = 0
        self._pids.clear()
        self._end_strays()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _last_words(output: IO[bytes]) -> str:
    output.seek(0)
    text = output.read().decode(errors="replace").strip()
    return f" It wrote:\n{text[-_SHOWN_ERRORS:]}" if text else ""


def _children(pid: int) -> set[int]:
    """Return the children of a process, as Linux tells them; none on other systems."""
    try:
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


class AgentProcess:
    """A process with one agent, for one conversation."""

    def __init__(self, host: AgentHost) -> None:
        self._host = host
        self._pid: int | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._watching: asyncio.Task[None] | None = None
        self._output = bytearray()
        self._written = 0

    @property
    def output(self) -> str:
        """Return the beginning of what the agent wrote to standard output and error."""
        return self._output.decode(errors="replace")

    async def connect(self, channel: socket.socket, output: int) -> None:
        """Take over the ends of the process's channel and of its output."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=_MESSAGE_BYTES)
        self._watching = asyncio.ensure_future(self._watch(output))

    def send(self, message: ToAgent) -> None:
        """Send a message."""
        assert self._writer is not None
        self._writer.write(encode(message))

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message.

        Raises:
            AgentBroken: it ended, wrote too much, or sent what is no message.
        """
        assert self._reader is not None
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                raise AgentBroken(f"a message of more than {_MESSAGE_BYTES >> 20} MiB") from None
            except OSError:
                line = b""
            if self._written > _MOST_OUTPUT:
                raise AgentBroken(f"it wrote more than {_MOST_OUTPUT >> 20} MiB to standard output")
            if not line:
                raise AgentBroken("its process ended")
            try:
                message = _decoder.decode(line)
            except msgspec.DecodeError:
                raise AgentBroken("its process sent what is no message") from None
            if not isinstance(message, Began):
                return message
            if self._pid is None:
                self._pid = message.pid
                self._host.began(message.pid)

    async def end(self, *, patiently: bool) -> int:
        """End the process and all that it started.

        Args:
            patiently: let it close what it has open first.

        Returns:
            The number of processes that the agent had left running.
        """
        assert self._writer is not None and self._reader is not None and self._watching is not None
        if patiently:
            with suppress(OSError, asyncio.TimeoutError):
                self._writer.write_eof()
                await asyncio.wait_for(self._reader.read(), _END_SECONDS)
        self._kill()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._gone()
        return self._host.ended(self._pid)

    async def _gone(self) -> None:
        """Wait until the process is no more: only then what it has left comes back to the host."""
        give_up = time.monotonic() + _END_SECONDS
        while self._pid is not None and process_lives(self._pid) and time.monotonic() < give_up:
            await asyncio.sleep(_LOOK_SECONDS)

    def _kill(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    async def _watch(self, output: int) -> None:
        """Keep the beginning of the output; end a process that floods it."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(output, "rb", buffering=0)
        )
        try:
            while data := await reader.read(1 << 16):
                self._written += len(data)
                self._output += data[: max(0, _KEPT_OUTPUT - len(self._output))]
                if self._written > _MOST_OUTPUT:
                    self._kill()
                    return
        finally:
            transport.close()
