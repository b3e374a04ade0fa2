"""Agents of type `mcp`: each conversation has a program of its own, whose tools are an MCP server.

The program is told each turn in a line of JSON on standard input and answers in one on standard output. It
finds the server's address in its environment.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from crm_assets.agents.desk import Desk
from crm_assets.agents.endpoint import HOST, Endpoint
from crm_assets.agents.host import RUN
from crm_assets.agents.links import AgentBroken, LinkEnd
from crm_assets.agents.messages import Began, Begin, Call, Failed, Reply, ToAgent, Turn, decode, encode
from crm_assets.agents.process import AgentProcess, ProcessHost
from crm_assets.agents.turns import TurnDocument, encode_turn, read_reply
from crm_assets.errors import ConfigError

__all__ = ["CommandHost"]

_began = msgspec.json.Decoder(Began)
_failed = msgspec.json.Decoder(Failed)
_printed: msgspec.json.Decoder[object] = msgspec.json.Decoder()
_NOT_STARTED = encode(Failed("")).partition(b'""')[0]
"""How the line begins that the host sends in place of a program that cannot be started."""
_START_SECONDS = 10.0
_STDIO = (sys.executable, "-m", "crm_assets.agents.stdio")


class CommandHost:
    """Starts an agent's program for each conversation (see `AgentHost`)."""

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare; nothing is started yet.

        Args:
            command: the program and its arguments.
            folder: the project's, where it works.
            environment: of its processes.
        """
        self.name = shlex.join(command)
        self.answered = False
        """Whether the agent has answered anything in this run."""
        self._program = command[0]
        self._folder = folder
        self.processes = ProcessHost(
            self.name, [RUN, *command], environment=_environment(environment), folder=folder
        )
        self._endpoint = Endpoint()
        self._starts = asyncio.Semaphore(os.cpu_count() or 1)
        self._starting: set[asyncio.Task[None]] = set()

    async def open(self) -> CommandAgent:
        """Return a new process of the program.

        Raises:
            ConfigError: there is no such program.
        """
        if not self._is_there():
            raise ConfigError(
                f"The agent {self.name} cannot be used: there is no program {self._program}. "
                f"If it is not on the PATH, write its path, from {self._folder}."
            )
        # A framework takes seconds of CPU to import: if all started at once, the time of their first turn
        # would be over before any of them is there.
        await self._starts.acquire()
        desk = self._endpoint.open()
        starting = asyncio.create_task(self._started(desk))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        process = AgentProcess(self.processes)
        variables = {
            "MCP_URL": self._endpoint.mcp_url(desk),
            "MCP_TOKEN": desk.token,
            "MCP_STDIO": shlex.join(_STDIO),
        }
        await self.processes.fork(process, variables)
        return CommandAgent(self, process, desk)

    async def _started(self, desk: Desk) -> None:
        """Let another program start once this one has, or is slow to say so."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(desk.heard.wait(), _START_SECONDS)
        self._starts.release()

    def _is_there(self) -> bool:
        if "/" in self._program:
            return (self._folder / self._program).is_file()
        return shutil.which(self._program, path=self.processes.environment.get("PATH")) is not None

    async def aclose(self) -> None:
        """End all processes, and the endpoint."""
        await self.processes.aclose()
        await self._endpoint.aclose()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of programs: they print unbuffered, and reach the endpoint without a proxy."""
    direct = ",".join(filter(None, [given.get("NO_PROXY") or given.get("no_proxy"), HOST]))
    return {**given, "PYTHONUNBUFFERED": "1", "NO_PROXY": direct, "no_proxy": direct}


class CommandAgent:
    """An agent in a program of its own (see `AgentLink`)."""

    def __init__(self, host: CommandHost, process: AgentProcess, desk: Desk) -> None:
        self._host = host
        self._process = process
        self._desk = desk
        self._over = False
        self._reading = asyncio.create_task(self._read())

    @property
    def output(self) -> str:
        """Return the beginning of what the agent wrote, to standard output beside its replies."""
        return self._desk.hide(self._process.output)

    def send(self, message: ToAgent) -> None:
        """Send a message."""
        desk = self._desk
        if isinstance(message, Begin):
            desk.begin(message)
        elif isinstance(message, Turn):
            desk.start_turn(message.number)
            turn = TurnDocument(desk.id, message.number, message.user, desk.instructions)
            self._process.write(encode_turn(turn) + b"\n")
        else:
            desk.answer(message)

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message."""
        message = await self._desk.receive()
        self._host.answered = True
        return message

    async def end(self, *, patiently: bool) -> LinkEnd:
        """End the program and all that it started (see `AgentLink.end`)."""
        self._over = True
        if patiently:
            self._process.write_eof()
            await self._process.gone()
        left = await self._process.end()
        await self._reading  # to the end of what it wrote
        return LinkEnd(left, self._desk.close())

    async def _read(self) -> None:
        """Take what the program writes to standard output, until it ends."""
        try:
            self._process.began(decode(_began, await self._process.read()).pid)
            line = await self._process.read()
            if line.startswith(_NOT_STARTED):
                raise ConfigError(
                    f"The agent {self._host.name} cannot be used: {decode(_failed, line).reason}."
                )
            while True:
                self._take(line)
                line = await self._process.read()
        except ConfigError as error:
            self._desk.fail(error)
        except (AgentBroken, ValueError) as error:
            if self._over:
                return
            self._desk.fail(str(error) if self._host.answered else await self._unusable(str(error)))

    def _take(self, line: bytes) -> None:
        line = self._desk.hide_bytes(line)
        if is_answer(line):
            self._desk.reply(read_reply(line, self._desk.turn))
        else:
            self._process.keep(line)

    async def _unusable(self, reason: str) -> ConfigError:
        said = self._desk.hide(await self._process.last_words())
        return ConfigError(
            f"The agent {self._host.name} cannot be used: {reason} before it answered anything.{said}"
        )


def is_answer(line: bytes) -> bool:
    """Tell an answer from what else a program prints."""
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        printed = decode(_printed, line)
    except ValueError:
        return False
    return isinstance(printed, dict) and "reply" in printed
