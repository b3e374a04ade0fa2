"""litellm in processes of its own, so that its work on one call holds up no other.

A call costs litellm some milliseconds of CPU, more than all else of a session together, and it takes
seconds to import. Here the run's own process hands requests over and is free meanwhile; limits, retries,
ledger and budget stay where they are.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from crm_assets.errors import InfrastructureError
from crm_assets.llm.access import address_of, key_of
from crm_assets.llm.backend import LitellmBackend
from crm_assets.llm.failures import Failure
from crm_assets.llm.messages import ChatRequest, FunctionTool
from crm_assets.llm.pricing import Price, price_of
from crm_assets.llm.quiet import import_litellm
from crm_assets.llm.redaction import make_redactor
from crm_assets.llm.replies import Completion
from crm_assets.llm.spec import ModelSpec

__all__ = ["BackendProcesses", "serve"]

_LENGTH_BYTES = 4
_PATIENCE_SECONDS = 10.0
_MOST_STILLBORN = 5
_PROGRAM = "import sys; from crm_assets.llm.processes import serve; serve(int(sys.argv[1]))"

_ENDED = Completion(failure=Failure("connection", "the process that asks models ended"))

Tools = tuple[FunctionTool, ...]
Question = tuple[int, "ChatRequest | None", int, "Tools | None"]
"""Number, request without its tools (None to give the call up), which tools, and these the first time."""
Answer = tuple[int, "Completion | str"]
"""Number, and what came of it, or what went wrong with us."""


@dataclass
class _Peer:
    """A process that asks models, and what it has been asked."""

    process: subprocess.Popen[bytes]
    writer: asyncio.StreamWriter
    listening: asyncio.Task[None] | None = None
    waiting: dict[int, asyncio.Future[Completion | str]] = field(default_factory=dict)
    known_tools: set[int] = field(default_factory=set)
    alive: bool = True
    answered: bool = False
    """Whether it has answered anything yet."""


class BackendProcesses:
    """Sends requests through litellm in `count` processes. Belongs to one event loop."""

    def __init__(self, environment: Mapping[str, str], count: int) -> None:
        """Nothing is started before the first request.

        Args:
            environment: where keys are found; it reaches the processes by a pipe, not their command line.
            count: of processes.
        """
        self._environment = dict(environment)
        self._count = count
        self._peers: list[_Peer] = []
        self._tools: dict[int, tuple[int, Tools]] = {}
        """By identity: number and tools, which are kept so that the identity stays theirs."""
        self._prices: dict[ModelSpec, Price] = {}
        self._addresses: dict[ModelSpec, str] = {}
        self._numbers = 0
        self._stillborn = 0
        """Processes that ended before they had answered anything, since one last did."""
        self._starting = asyncio.Lock()

    def check(self, spec: ModelSpec) -> None:
        """See whether a model can be asked, without asking it.

        Raises:
            ConfigError: its key is missing; the variable is named.
        """
        key_of(spec, self._environment)

    def price(self, spec: ModelSpec) -> Price:
        """What its calls cost; imports litellm here, which only a budget in dollars needs."""
        if spec not in self._prices:
            self._prices[spec] = price_of(spec)
        return self._prices[spec]

    def address(self, spec: ModelSpec) -> str:
        """Provider and server: who shares limits.

        Raises:
            ConfigError: its key is missing; the variable is named.
        """
        if spec not in self._addresses:
            self.check(spec)
            self._addresses[spec] = address_of(spec, self._environment)
        return self._addresses[spec]

    async def send(self, request: ChatRequest) -> Completion:
        """Send a request, once, and wait for what comes; never longer than the model's timeout.

        Raises:
            InfrastructureError: a process failed at something that is not the provider's, or none starts.
        """
        peer = await self._peer()
        if not peer.alive:  # it ended while another one was being started: nobody would answer
            return _ENDED
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Completion | str] = asyncio.get_running_loop().create_future()
        peer.waiting[number] = future
        tools, first = self._tool_set(peer, request.tools)
        _write(peer.writer, (number, replace(request, tools=()), tools, first))
        try:
            answer = await future
        except asyncio.CancelledError:
            if peer.alive:
                _write(peer.writer, (number, None, 0, None))
            raise
        finally:
            peer.waiting.pop(number, None)
        if isinstance(answer, str):
            raise InfrastructureError(
                f"A process that asks models failed ({answer}); run it again to go on."
            )
        return answer

    async def aclose(self) -> None:
        """End the processes; each closes its connections first."""
        for peer in self._peers:
            peer.writer.close()  # all of them first, so that they end side by side
        for peer in self._peers:
            await _close(peer)
        self._peers.clear()

    def _tool_set(self, peer: _Peer, tools: Tools) -> tuple[int, Tools | None]:
        """The number of a set of tools, and the tools if this process has not had them yet."""
        number, _ = self._tools.setdefault(id(tools), (len(self._tools), tools))
        if number in peer.known_tools:
            return number, None
        peer.known_tools.add(number)
        return number, tools

    async def _peer(self) -> _Peer:
        """The process with the least to do; those that ended are replaced."""
        async with self._starting:
            for peer in [peer for peer in self._peers if not peer.alive]:
                self._peers.remove(peer)
                await _close(peer)
                self._stillborn = 0 if peer.answered else self._stillborn + 1
            if self._stillborn >= _MOST_STILLBORN:
                raise InfrastructureError(
                    "The processes that ask models end before they have asked anything; what they say of "
                    "it is above."
                )
            while len(self._peers) < self._count:
                self._peers.append(await self._start())
        return min(self._peers, key=lambda peer: len(peer.waiting))

    async def _start(self) -> _Peer:
        ours, theirs = socket.socketpair()
        with theirs:
            # Not multiprocessing: that imports the user's main module again, whatever it does. A session of
            # its own, since Ctrl-C is ours to handle; when we end, however, so does the connection, and it.
            process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        _write(writer, self._environment)
        peer = _Peer(process, writer)
        peer.listening = asyncio.create_task(_listen(peer, reader))
        return peer


async def _listen(peer: _Peer, reader: asyncio.StreamReader) -> None:
    """Hand answers to those who wait; when the process has ended, tell them so."""
    try:
        while True:
            number, answer = await _read(reader)
            peer.answered = True
            future = peer.waiting.get(number)
            if future is not None and not future.done():
                future.set_result(answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # it ended; below all are told
    finally:
        peer.alive = False
        for future in peer.waiting.values():
            if not future.done():
                future.set_result(_ENDED)


async def _close(peer: _Peer) -> None:
    """Let a process end, if it has not by itself, and wait for it."""
    peer.writer.close()
    if peer.listening is not None:
        peer.listening.cancel()
        with suppress(asyncio.CancelledError):
            await peer.listening
    await asyncio.to_thread(_end, peer.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(writer: asyncio.StreamWriter, message: Question | Answer | dict[str, str]) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)


async def _read(reader: asyncio.StreamReader) -> Any:
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))  # noqa: S301  (from our own process)


def serve(descriptor: int) -> None:
    """Body of a process: asks models until the connection ends.

    Args:
        descriptor: of the socket to the run's own process.
    """
    import_litellm()
    asyncio.run(_serve(socket.socket(fileno=descriptor)))


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await _Server(await _read(reader)).run(reader, writer)


class _Server:
    """The other end of the connection."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._redact = make_redactor(environment)
        self._backend = LitellmBackend(environment, self._redact)
        self._tools: dict[int, Tools] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer questions until nobody can ask any more."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self._take(await _read(reader), writer)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._backend.aclose()

    def _take(self, question: Question, writer: asyncio.StreamWriter) -> None:
        number, request, tools, first = question
        if request is None:
            if number in self._tasks:
                self._tasks[number].cancel()
            return
        if first is not None:
            self._tools[tools] = first
        complete = replace(request, tools=self._tools[tools])
        task = asyncio.create_task(self._answer(number, complete, writer))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _answer(self, number: int, request: ChatRequest, writer: asyncio.StreamWriter) -> None:
        answer: Completion | str
        try:
            answer = await self._backend.send(request)
        except Exception as error:  # whatever it is, the one who waits must hear of it
            answer = self._redact(f"{type(error).__name__}: {error}")
        _write(writer, (number, answer))
