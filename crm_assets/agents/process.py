"""Processes of agents: one that stays for the run, and a fork of it for each conversation."""

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
from types import MappingProxyType
from typing import IO

import msgspec

from crm_assets.agents.links import MESSAGE_BYTES, AgentBroken
from crm_assets.agents.messages import Failed, FromAgent
from crm_assets.concurrency import process_lives
from crm_assets.errors import ConfigError

__all__ = ["END_SECONDS", "AgentProcess", "ProcessHost"]

_START_SECONDS = 120.0
END_SECONDS = 5.0
"""Time that an agent has to close what it has open."""
_LOOK_SECONDS = 0.002
_KEPT_OUTPUT = 8 << 10
_MOST_OUTPUT = 1 << 20
_SHOWN_ERRORS = 2000
_decoder = msgspec.json.Decoder(FromAgent)


class ProcessHost:
    """A process that forks others, and ends what they leave. Belongs to one event loop."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path | None
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            name: of the agent, for errors.
            arguments: of `crm_assets.agents.host`, after its channel.
            environment: of the processes.
            folder: where they work; None for the current one.
        """
        self._name = name
        self._arguments = arguments
        self._folder = folder
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._pids: set[int] = set()
        self._unknown = 0
        """Processes that have not yet said which they are."""

    async def fork(
        self, process: AgentProcess, variables: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Fork, and connect the new process.

        Args:
            process: what it is connected to.
            variables: added to its environment.

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
            order = msgspec.json.encode(dict(variables))
            socket.send_fds(self._control, [order], [theirs.fileno(), writing])
        finally:
            theirs.close()
            os.close(writing)
        self._unknown += 1
        await process.connect(ours, reading)

    async def _start(self) -> None:
        """Start the process that imports the module, and wait until it has."""
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(  # noqa: S603  (the agent is the user's own)
                [sys.executable, "-m", "crm_assets.agents.host", str(theirs.fileno()), *self._arguments],
                pass_fds=[theirs.fileno()],
                env=self.environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the harness to handle
            )
            theirs.close()
            ours.setblocking(False)
            try:
                said = await asyncio.wait_for(
                    asyncio.get_running_loop().sock_recv(ours, MESSAGE_BYTES), _START_SECONDS
                )
                message = _decoder.decode(said) if said else Failed("it ended while it was imported")
            except asyncio.TimeoutError:
                message = Failed(f"it is not imported after {_START_SECONDS:.0f} s")
            if isinstance(message, Failed):
                self._process.kill()
                self._process.wait()
                ours.close()
                words = shown_output(_read_all(output))
                raise ConfigError(f"The agent {self._name} cannot be used: {message.reason}.{words}")
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


def _read_all(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")


def shown_output(output: str) -> str:
    """Return a sentence with the end of what a process wrote; empty if it wrote nothing."""
    text = output.strip()
    return f" It wrote:\n{text[-_SHOWN_ERRORS:]}" if text else ""


def _children(pid: int) -> set[int]:
    """Return the children of a process, as Linux tells them; none on other systems."""
    try:
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


class AgentProcess:
    """A process with one agent, for one conversation."""

    def __init__(self, host: ProcessHost) -> None:
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
        self._reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=MESSAGE_BYTES)
        self._watching = asyncio.ensure_future(self._watch(output))

    def write(self, line: bytes) -> None:
        """Send a line to the agent."""
        assert self._writer is not None
        self._writer.write(line)

    async def read(self) -> bytes:
        """Return the next line that the agent sends.

        Raises:
            AgentBroken: it ended, or wrote too much.
        """
        assert self._reader is not None
        try:
            line = await self._reader.readline()
        except ValueError:
            raise AgentBroken(f"a message of more than {MESSAGE_BYTES >> 20} MiB") from None
        except OSError:
            line = b""
        if self._written > _MOST_OUTPUT:
            raise AgentBroken(f"it wrote more than {_MOST_OUTPUT >> 20} MiB to standard output")
        if not line:
            raise AgentBroken("its process ended")
        return line

    def began(self, pid: int) -> None:
        """Remember which process it is; forks of it say so again."""
        if self._pid is None:
            self._pid = pid
            self._host.began(pid)

    def keep(self, data: bytes) -> None:
        """Keep the beginning of the output; end a process that floods it."""
        self._written += len(data)
        self._output += data[: max(0, _KEPT_OUTPUT - len(self._output))]
        if self._written > _MOST_OUTPUT:
            self._kill()

    def write_eof(self) -> None:
        """Tell the agent that the conversation is over."""
        assert self._writer is not None
        with suppress(OSError):
            self._writer.write_eof()

    async def last_words(self) -> str:
        """Return the end of the output of a process that has ended."""
        assert self._watching is not None
        await asyncio.wait([self._watching], timeout=END_SECONDS)
        return shown_output(self.output)

    async def end(self) -> int:
        """End the process and all that it started; return the number of processes that it had left."""
        assert self._writer is not None and self._watching is not None
        self._kill()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self.gone(look_seconds=_LOOK_SECONDS)
        return self._host.ended(self._pid)

    async def gone(self, *, look_seconds: float = 0.02) -> None:
        """Wait until the process is no more, or has had its time to end.

        Only then what it has left comes back to the host. The end of its output says less: what it has
        left may hold that open.
        """
        give_up = time.monotonic() + END_SECONDS
        while self._pid is not None and process_lives(self._pid) and time.monotonic() < give_up:
            await asyncio.sleep(look_seconds)

    def _kill(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    async def _watch(self, output: int) -> None:
        """Keep what the agent writes."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(output, "rb", buffering=0)
        )
        try:
            while data := await reader.read(1 << 16):
                self.keep(data)
                if self._written > _MOST_OUTPUT:
                    return
        finally:
            transport.close()
