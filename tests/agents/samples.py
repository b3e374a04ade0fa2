"""Agents as users write them: good ones, and ones with each fault."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from crm_assets.agents import AsyncCrm, Crm, ToolRefused


class Searcher:
    """Searches for a client, and tells how many it has found in the conversation."""

    def __init__(self) -> None:
        self.found = 0

    def turn(self, user: str, crm: Crm) -> str:
        self.found += len(crm.call("client_search", {"name": user.rsplit(maxsplit=1)[-1]}))
        crm.report_usage(prompt_tokens=7, completion_tokens=2, cost_usd=0.5)
        return f"Found {self.found}."


class AsyncSearcher:
    async def turn(self, user: str, crm: AsyncCrm) -> str:
        found = await crm.call("client_search", {"name": user.rsplit(maxsplit=1)[-1]})
        return f"Found {len(found)}."


class Reader:
    """Replies with what it was given."""

    def turn(self, user: str, crm: Crm) -> str:
        secrets = [name for name in os.environ if name.startswith(("DB_", "STORAGE__", "DAGSTER_"))]
        return f"{crm.instructions}|{len(crm.tools)}|{secrets}|{os.getpid()}"


class Greedy:
    """Calls as often as it is asked to, and says what it was told."""

    def turn(self, user: str, crm: Crm) -> str:
        said = []
        for _ in range(3):
            try:
                crm.call("client_search", {"name": "Acme"})
                said.append("called")
            except ToolRefused as refusal:
                said.append(refusal.message)
        return "; ".join(said)


class _Faulty:
    """Goes wrong in the turn in which the user says so."""

    def turn(self, user: str, crm: Crm) -> Any:
        return self.fault(crm) if "now" in user else "Fine."

    def fault(self, crm: Crm) -> Any:
        raise NotImplementedError


class Raising(_Faulty):
    def fault(self, crm: Crm) -> Any:
        sys.stdout.write("about to raise\n")
        raise LookupError("no such client")


class Hanging(_Faulty):
    """Hangs beside a process that it has started; writes both process IDs first."""

    def fault(self, crm: Crm) -> Any:
        started = subprocess.Popen(["sleep", "3600"])
        sys.stdout.write(f"{os.getpid()} {started.pid}")
        sys.stdout.flush()
        time.sleep(3600)


class Dying(_Faulty):
    def fault(self, crm: Crm) -> Any:
        os._exit(3)


class Flooding(_Faulty):
    def fault(self, crm: Crm) -> Any:
        for _ in range(10 << 10):
            sys.stdout.write("x" * 1023 + "\n")
        sys.stdout.flush()
        time.sleep(3600)


class Wordless(_Faulty):
    def fault(self, crm: Crm) -> Any:
        return None


class Unserializable(_Faulty):
    def fault(self, crm: Crm) -> Any:
        crm.call("client_search", {"name": object()})


class Forking(_Faulty):
    """Goes on in a second process, which ends badly."""

    def fault(self, crm: Crm) -> Any:
        second = os.fork()
        if not second:
            raise LookupError("in the second process")
        os.waitpid(second, 0)
        return "Fine."


class Leaving(_Faulty):
    """Leaves a process running that is in no group of its own."""

    def fault(self, crm: Crm) -> Any:
        left = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        return f"{left.pid}"


class Stubborn(_Faulty):
    """Goes on calling whatever it is told."""

    def fault(self, crm: Crm) -> Any:
        while True:
            try:
                crm.call("client_search", {"name": "Acme"})
            except ToolRefused:
                continue


class Huge(_Faulty):
    """Replies with ten megabytes."""

    def fault(self, crm: Crm) -> Any:
        return "x" * (10 << 20)


class HugeCall(_Faulty):
    """Calls with ten megabytes."""

    def fault(self, crm: Crm) -> Any:
        with suppress(OSError, ValueError):  # the endpoint may hang up before it has all
            crm.call("client_search", {"name": "x" * (10 << 20)})
        return "Called."


class Nested(_Faulty):
    """Calls with arguments in a hundred lists."""

    def fault(self, crm: Crm) -> Any:
        nested: Any = "Acme"
        for _ in range(100):
            nested = [nested]
        crm.call("client_search", {"name": nested})


class Enormous(_Faulty):
    """Calls with a number of more than 64 bits."""

    def fault(self, crm: Crm) -> Any:
        crm.call("client_search", {"name": 1 << 70})


class Mistyped(_Faulty):
    """Calls with arguments of wrong types; says what it was told."""

    def fault(self, crm: Crm) -> Any:
        try:
            crm.call("client_search", {"name": ["Acme"]})
        except ToolRefused as refusal:
            return refusal.message


class Late:
    """Calls when the conversation is over."""

    def turn(self, user: str, crm: Crm) -> str:
        self.crm = crm
        return "Fine."

    def close(self) -> None:
        with suppress(ToolRefused):
            self.crm.call("client_search", {"name": "Acme"})


class Twice(_Faulty):
    """As a program: prints a reply beside its reply."""

    def fault(self, crm: Crm) -> Any:
        sys.stdout.write('{"reply": "First."}\n')
        return "Second."


class Chatty(_Faulty):
    """As a program: prints what is no reply."""

    def fault(self, crm: Crm) -> Any:
        sys.stdout.write('thinking\n{"step": 1}\n{half\n')
        return f"MCP_TOKEN is {os.environ['MCP_TOKEN']}, {crm.instructions}"


def broken_factory() -> Any:
    raise RuntimeError("no key is set")


not_callable = 7
