"""The process that agents' processes come from: `python -m crm_assets.agents.host FD MODULE:FACTORY`.

It imports the agent's module once. For each conversation it forks, so that every agent has a process of
its own without importing anything again. With a program and its arguments in place of a factory (after
`--run`) the fork becomes that program.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import msgspec

from crm_assets.agents.interface import AsyncCrm, Crm, ToolRefused
from crm_assets.agents.messages import Began, Begin, Call, CallOutcome, Failed, Reply, ToAgent, Turn, encode

__all__ = ["RUN", "Conversation", "load_factory", "main"]

RUN = "--run"
_ORDER_BYTES = 1 << 16
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux
_decoder = msgspec.json.Decoder(ToAgent)


def load_factory(name: str) -> Callable[[], Any]:
    """Import an agent's factory.

    Args:
        name: `module:factory`, with dots in both.

    Raises:
        ValueError: the name is not of that form, or does not name a callable; says so in one sentence.
        Exception: whatever the module raises.
    """
    module, _, attributes = name.partition(":")
    if not module or not attributes:
        raise ValueError(f"{name!r} does not name a factory: write module:factory.")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise ValueError(f"{module} has no {attributes}.")
        found = getattr(found, attribute)
    if not callable(found):
        raise ValueError(f"{name} cannot be called; name a function or a class that makes an agent.")
    made: Callable[[], Any] = found
    return made


def main(arguments: list[str]) -> int:
    """Serve until the harness goes away; return the exit code."""
    control, name, *program = socket.socket(fileno=int(arguments[0])), *arguments[1:]
    become: Callable[[int, int, dict[str, str]], NoReturn]
    if name == RUN:
        become = partial(_become_program, program)
    else:
        try:
            become = partial(_become_agent, load_factory(name))
        except BaseException as error:  # SystemExit, too
            control.sendall(encode(Failed(_reason(error))))
            traceback.print_exc()
            return 1
    with suppress(OSError, AttributeError):  # processes that an agent leaves come back to this one
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for an agent's process
    control.sendall(encode(Began(os.getpid())))
    while True:
        message, files, _, _ = socket.recv_fds(control, _ORDER_BYTES, 2)
        if not message:
            return 0
        if os.fork() == 0:
            control.close()
            become(*files, msgspec.json.decode(message, type=dict[str, str]))
        for file in files:
            os.close(file)


def _become_program(program: list[str], channel: int, output: int, variables: dict[str, str]) -> NoReturn:
    """Be the program of one agent: its standard input and output are the channel."""
    code = 127
    try:
        _leave_host()
        os.write(channel, encode(Began(os.getpid())))
        os.dup2(channel, 0)
        os.dup2(channel, 1)
        os.dup2(output, 2)
        os.execvpe(program[0], program, {**os.environ, **variables})  # noqa: S606  (the user's own)
    except OSError as error:
        os.write(channel, encode(Failed(_reason(error))))
    finally:
        os._exit(code)


def _leave_host() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()  # what the agent starts ends with it


def _become_agent(
    factory: Callable[[], Any], channel: int, output: int, variables: dict[str, str]
) -> NoReturn:
    """Be the process of one agent until its conversation ends."""
    code = 1
    try:
        _leave_host()
        os.environ.update(variables)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        with socket.socket(fileno=channel) as connection:
            Conversation(factory, connection).run()
        code = 0
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Conversation:
    """One agent in its conversation."""

    def __init__(self, factory: Callable[[], Any], connection: socket.socket) -> None:
        self._factory = factory
        self._send_bytes = connection.sendall
        self._lines = iter(connection.makefile("rb"))
        self._in_turn = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Take turns until the conversation ends or the agent fails."""
        self._send(Began(os.getpid()))
        agent: Any = None
        crm: Crm | None = None
        try:
            for line in self._lines:
                message = _decoder.decode(line)
                if isinstance(message, Begin):
                    agent = self._factory()
                    kind = AsyncCrm if inspect.iscoroutinefunction(agent.turn) else Crm
                    crm = kind(self._call, message.tools, message.instructions)
                elif isinstance(message, Turn) and crm is not None:
                    self._send(self._turn(agent, crm, message))
            if callable(close := getattr(agent, "close", None)):
                self._finish(close())
        except BaseException as error:  # whatever an agent does is its failure
            traceback.print_exc()
            self._send(Failed(_reason(error)))

    def _turn(self, agent: Any, crm: Crm, turn: Turn) -> Reply:
        crm.reported = {}
        self._in_turn = True
        text = self._finish(agent.turn(turn.user, crm))
        self._in_turn = False
        if not isinstance(text, str):
            raise TypeError(f"turn() returned {type(text).__name__}; return the reply as a string")
        return Reply(turn.number, text, crm.reported)

    def _finish(self, result: Any) -> Any:
        """Return the result of a method, awaited where it is async."""
        if not inspect.isawaitable(result):
            return result
        if self._loop is None:
            self._loop = asyncio.new_event_loop()

        async def finished() -> Any:
            return await result

        return self._loop.run_until_complete(finished())

    def _call(self, name: str, arguments: Any) -> Any:
        if not self._in_turn:  # a thread or a task that the turn left behind
            self._send(Failed(f"it called {name} after its turn had ended"))
            raise ToolRefused("The turn has ended.")
        self._send(Call(name, arguments))
        line = next(self._lines, None)
        if line is None:
            raise SystemExit(0)  # the conversation is over
        outcome = _decoder.decode(line)
        assert isinstance(outcome, CallOutcome)  # the harness answers a call with nothing else
        if outcome.error is not None:
            raise ToolRefused(outcome.error)
        return outcome.result

    def _send(self, message: Began | Call | Reply | Failed) -> None:
        self._send_bytes(encode(message))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(":")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
